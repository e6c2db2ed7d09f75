"""Arms drawn by chance, from a file of the same shape made by hand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.domain.errors import SettingError
from recsys.evaluate.logged import read
from recsys.evaluate.offpolicy import PolicyValue, Snips, difference
from recsys.public import hillstrom
from recsys.public.hillstrom import Hillstrom, logged, notes

ARMS = ["Mens E-Mail", "No E-Mail", "Womens E-Mail", "Mens E-Mail"]


@pytest.fixture
def source(tmp_path: Path) -> Hillstrom:
    pl.DataFrame({
        "recency": [10, 6, 7, 9],
        "history_segment": ["2) $100 - $200"] * 4,
        "history": [142.44, 329.08, 180.65, 675.83],
        "mens": [1, 1, 0, 1],
        "womens": [0, 1, 1, 0],
        "zip_code": ["Surburban", "Rural", "Urban", "Rural"],
        "newbie": [0, 1, 1, 1],
        "channel": ["Phone", "Web", "Web", "Multichannel"],
        "segment": ARMS,
        "visit": [1, 0, 1, 0],
        "conversion": [1, 0, 0, 0],
        "spend": [29.9, 0.0, 0.0, 0.0],
    }).write_parquet(tmp_path / hillstrom.FILE)
    return Hillstrom(root=str(tmp_path))


def test_a_customer_is_a_row_and_a_target_sends_one_thing_to_all(source: Hillstrom) -> None:
    log = logged(source)
    assert log["arm"].to_list() == ["mens", "none", "womens", "mens"]
    np.testing.assert_allclose(np.exp(log["log_propensity"].to_numpy()), 1 / 3)
    np.testing.assert_allclose(read(log).weight.ravel(), [3, 0, 0, 3])
    np.testing.assert_allclose(read(log, target="none_log_prob").weight.ravel(), [0, 3, 0, 0])
    assert set(hillstrom.ABOUT) < set(log.columns)


@pytest.mark.parametrize(
    ("outcome", "rewards"),
    [("visit", [1, 0, 1, 0]), ("conversion", [1, 0, 0, 0]), ("spend", [29.9, 0, 0, 0])],
)
def test_the_reward_is_the_outcome_asked_for(
    source: Hillstrom, outcome: str, rewards: list[float]
) -> None:
    log = logged(source.model_copy(update={"outcome": outcome}))
    assert log["reward"].to_list() == rewards
    assert log["visit"].to_list() == [1, 0, 1, 0]


@pytest.mark.parametrize(("arm", "weights"), [("womens", [0, 0, 3, 0]), ("none", [0, 3, 0, 0])])
def test_the_target_is_the_arm_asked_for(source: Hillstrom, arm: str, weights: list[float]) -> None:
    log = logged(source.model_copy(update={"arm": arm}))
    np.testing.assert_allclose(read(log).weight.ravel(), weights)


def test_another_file_is_said_to_be_one_and_a_missing_one_is_named(
    source: Hillstrom, monkeypatch: pytest.MonkeyPatch
) -> None:
    (note,) = notes(source)
    assert note.endswith(", not the file of our figures")
    digest = note.removeprefix("md5 of hillstrom.parquet: ").partition(",")[0]
    monkeypatch.setattr(hillstrom, "MD5", digest)
    assert notes(source) == (f"md5 of hillstrom.parquet: {digest}",)
    with pytest.raises(SettingError, match=r"does not hold hillstrom\.parquet"):
        logged(Hillstrom(root=str(Path(source.root) / "elsewhere")))


@pytest.mark.data
def test_six_effects_are_the_differences_of_the_arms_means(measured: Callable[[str], str]) -> None:
    root = measured("hillstrom")
    raw = pl.read_parquet(Path(root) / hillstrom.FILE)
    means = dict(
        raw
        .group_by("segment")
        .agg(pl.concat_list(pl.mean("visit", "conversion", "spend")))
        .iter_rows()
    )
    outcomes = ("visit", "conversion", "spend")
    for arm, (place, outcome) in product(("mens", "womens"), enumerate(outcomes)):
        source = Hillstrom.model_validate({"root": root, "arm": arm, "outcome": outcome})
        assert notes(source) == (f"md5 of hillstrom.parquet: {hillstrom.MD5}",)
        effect = difference(logged(source), Snips(), than="none_log_prob")
        assert isinstance(effect, PolicyValue)
        gap = means[hillstrom.ARMS[arm]][place] - means["No E-Mail"][place]
        assert effect.value == pytest.approx(gap, abs=1e-12)
        assert effect.low < gap < effect.high
        # two arms drawn by chance: the textbook's standard error
        arms = raw.filter(pl.col("segment").is_in([hillstrom.ARMS[arm], "No E-Mail"]))
        each = arms.group_by("segment").agg(pl.var(outcome) / pl.len())[outcome].to_numpy()
        error = np.sqrt(each.sum())
        assert (effect.high - effect.low) / 3.92 == pytest.approx(error, rel=0.08)
