"""The dial in a whole world: it must buy novelty, and the picture must show at what price."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from recsys.data.requests import blocks
from recsys.domain.arrays import F32, I32
from recsys.evaluate.material import DialCurve
from recsys.evaluate.pareto import sweep
from recsys.evaluate.ways import Ways
from recsys.rerank.fit import fit_ranker
from recsys.rerank.spec import Blend
from recsys.runs.judge import oracles
from recsys.runs.prepare import prepare
from recsys.world import FlashSales

WORLD = FlashSales(members=3_000, days=14)


@pytest.fixture(scope="module")
def curves() -> Mapping[str, DialCurve]:
    prepared = prepare(WORLD)
    dataset = prepared.dataset
    cut = blocks(dataset, WORLD)
    taste = oracles(dataset, prepared.truth)["visible_oracle"]
    ranker = fit_ranker(
        Blend(), dataset.shop, value=cut.value, calibration=cut.calibration, taste=taste
    )

    def unit_of(sales: I32) -> F32:
        return np.eye(int(dataset.category.max()) + 1, dtype=np.float32)[dataset.category[sales]]

    found = sweep(Ways(ranker, every=True), dataset.shop, cut.test, taste=taste, unit_of=unit_of)
    return {curve.way: curve for curve in found}


@pytest.mark.parametrize("way", ["boost", "slots", "price"])
def test_more_novelty_shows_more_new_brands_and_costs_value_beyond_doubt(
    curves: Mapping[str, DialCurve], way: str
) -> None:
    points = curves[way].points
    low, high = points[0].discovery_share, points[-1].discovery_share
    # kept places can only be few: most of them would be new anyway
    assert high.low > (low.high if way != "slots" else low.value)
    shares = [at.discovery_share.value for at in points]
    assert shares == sorted(shares)
    kept = [at.value_kept.value for at in points]
    assert kept == sorted(kept, reverse=True)
    assert points[-1].value_kept.high < 1


def test_more_for_editors_picks_shows_more_of_them(curves: Mapping[str, DialCurve]) -> None:
    shares = [at.curated_share.value for at in curves["picks"].points]
    assert shares == sorted(shares)
    reach = [at.curated_reach.value for at in curves["picks"].points]
    assert reach == sorted(reach)


@pytest.mark.parametrize("kind", ["mmr", "dpp", "ssd"])
def test_more_weight_of_variety_makes_slates_less_alike(
    curves: Mapping[str, DialCurve], kind: str
) -> None:
    unlike = [at.ild.value for at in curves[kind].points]
    assert unlike == sorted(unlike)
    assert unlike[-1] > unlike[0]


def test_the_published_setting_has_one_price_on_every_curve(
    curves: Mapping[str, DialCurve],
) -> None:
    published = [at for curve in curves.values() for at in curve.points if at.dial == curve.now]
    assert {curve.way for curve in curves.values() if curve.now is not None} == {
        "boost", "picks", "mmr"
    }  # fmt: skip
    assert len({at.value_kept for at in published}) == len({at.hits for at in published}) == 1
