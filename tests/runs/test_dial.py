"""The dial in a whole world: it must buy novelty, and the picture must show at what price."""

from __future__ import annotations

import numpy as np

from recsys.data.requests import blocks
from recsys.domain.arrays import F32, I32
from recsys.evaluate.pareto import sweep
from recsys.rerank.fit import fit_ranker
from recsys.rerank.spec import Blend
from recsys.runs.judge import oracles
from recsys.runs.prepare import prepare
from recsys.world import FlashSales

WORLD = FlashSales(members=3_000, days=14)


def test_more_novelty_shows_more_new_brands_and_costs_value_beyond_doubt() -> None:
    prepared = prepare(WORLD)
    dataset = prepared.dataset
    cut = blocks(dataset, WORLD)
    taste = oracles(dataset, prepared.truth)["visible_oracle"]
    ranker = fit_ranker(
        Blend(), dataset.shop, value=cut.value, calibration=cut.calibration, taste=taste
    )

    def unit_of(sales: I32) -> F32:
        return np.eye(int(dataset.category.max()) + 1, dtype=np.float32)[dataset.category[sales]]

    points = sweep(ranker, dataset.shop, cut.test, taste=taste, unit_of=unit_of)
    low, high = points[0].discovery_share, points[-1].discovery_share
    assert high.low > low.high
    shares = [at.discovery_share.value for at in points]
    assert shares == sorted(shares)
    kept = [at.value_kept.value for at in points]
    assert kept == sorted(kept, reverse=True)
    assert points[-1].value_kept.high < 1
