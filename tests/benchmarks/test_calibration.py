"""What stands beside a bar, and what the bar says of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import calibration
from benchmarks.calibration import (
    BARS,
    ENOUGH,
    foretelling,
    judged,
    learned_of,
    rows_told,
    table,
    uncalibrated,
    verdict,
    world,
)
from benchmarks.turns import line
from recsys.domain.report import Estimate
from recsys.evaluate.reliability import Stratum, reliability
from recsys.rerank.calibrate import Calibrator
from recsys.rerank.signals import NAMES
from recsys.rerank.value import FittedValue, Logistic
from recsys.world import FlashSales


def stratum(value: float, *, n: int, reach: float = 0.02, rows: str = "all") -> Stratum:
    about = Estimate(value=value, low=value - reach, high=value + reach, n=n)
    bins = reliability(np.full(9, 0.5, dtype=np.float32), np.arange(9) % 2 == 0)
    return Stratum("new_brand", "all" if rows == "all" else "chosen", about, about, 0.1, 0.9, bins)


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (stratum(1.04, n=ENOUGH), "met"),
        (stratum(1.06, n=ENOUGH), "missed"),
        (stratum(0.91, n=ENOUGH, rows="chosen"), "met"),
        (stratum(0.89, n=ENOUGH, rows="chosen"), "missed"),
        (stratum(1.3, n=ENOUGH - 1, reach=0.4), "met"),
        (stratum(1.04, n=ENOUGH - 1), "missed"),
    ],
)
def test_many_outcomes_are_held_to_the_bar_and_few_to_their_interval(
    one: Stratum, said: str
) -> None:
    assert verdict(one) == said


def test_a_figure_stands_beside_its_bar_and_that_of_an_uncalibrated_model_has_none() -> None:
    ours, raw = (stratum(1.01, n=ENOUGH),), (stratum(1.4, n=ENOUGH),)
    rows = rows_told("purchase", ours, calibrated=True)
    rows += rows_told("purchase", raw, calibrated=False)
    told = json.loads(line("calibration", rows))["rows"]
    assert [row.get("bar") for row in told] == [BARS["all"], None, None, None]
    assert [row["value"] for row in told if row["unit"] == "ratio"] == [1.01, 1.4]
    text = table("purchase", ours, raw)
    assert text.endswith("met")
    assert "1.010" in text
    assert " 1.40 " in text


def test_an_uncalibrated_model_says_what_its_log_odds_say() -> None:
    model = Logistic(np.zeros(len(NAMES)), np.eye(len(NAMES))[0], offset=-2.0)
    line_of = Calibrator(np.zeros(0), np.zeros(0), slope=2.0, offset=1.0)
    value = uncalibrated(FittedValue(model, (line_of, line_of), "purchase", crowding=0.5))
    x = np.random.default_rng(1).normal(size=(3, 5, len(NAMES))).astype(np.float32)
    np.testing.assert_allclose(value(x), model.predict(x), rtol=1e-5)


@pytest.mark.slow
def test_both_labels_are_foretold_of_the_same_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = FlashSales(size="small", members=300)
    monkeypatch.setattr(calibration, "world", lambda *_, **__: data)
    learned = learned_of(data, tmp_path)
    views, buys = (foretelling(learned, label) for label in calibration.LABELS)
    assert (views.label, buys.label) == ("engagement", "purchase")
    seen, bought = judged(learned, views)[0], judged(learned, buys)[:1]
    assert seen.ratio.n == len(learned.task.blocks.test.target_sale)
    assert all(one.ratio.n < seen.ratio.n for one in bought)


def test_a_quick_world_is_a_tenth_of_the_whole() -> None:
    whole, quick = world(3, quick=False), world(3, quick=True)
    assert quick.num_members * 10 == whole.num_members
    assert whole.seed == quick.seed == 3
