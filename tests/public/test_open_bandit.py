"""Showings with their chances, from files of the same shape made by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.domain.errors import SettingError
from recsys.evaluate.logged import read
from recsys.evaluate.offpolicy import Dr, PolicyValue, Snips, estimate
from recsys.evaluate.rewards import cross_fitted
from recsys.evaluate.support import Refused
from recsys.public import open_bandit
from recsys.public.open_bandit import OpenBandit, logged, notes, target_chances


@pytest.fixture
def source(tmp_path: Path) -> OpenBandit:
    shown = {
        "random": [(0, 1, 1, 0.25), (3, 2, 0, 0.25), (2, 3, 0, 0.25), (1, 1, 0, 0.25)],
        "bts": [(0, 1, 0, 0.7), (0, 1, 1, 0.6), (1, 1, 0, 0.1), (2, 2, 1, 0.5), (2, 3, 0, 0.9)],
    }
    for policy, rows in shown.items():
        pl.DataFrame({
            "": range(len(rows)),
            "timestamp": [f"2019-11-24 00:00:0{i}.5{i}+00:00" for i in range(len(rows))],
            "item_id": [row[0] for row in rows],
            "position": [row[1] for row in rows],
            "click": [row[2] for row in rows],
            "propensity_score": [row[3] for row in rows],
            **{
                name: ["81ce", "03a5", "81ce", "9b2d", "81ce"][: len(rows)]
                for name in open_bandit.ABOUT
            },
            "user-item_affinity_0": [0.0] * len(rows),
        }).write_csv(tmp_path / f"{policy}_men.csv.gz", compression="gzip")
        pl.DataFrame({"": range(4), "item_id": range(4), "item_feature_0": [0.5] * 4}).write_csv(
            tmp_path / f"{policy}_men_item_context.csv.gz", compression="gzip"
        )
    return OpenBandit(root=str(tmp_path))


def test_a_showing_is_a_row_with_its_chance_and_the_targets_share_there(source: OpenBandit) -> None:
    log = logged(source)
    assert log.columns[:6] == ["member", "at", "slot", "sale", "reward", "log_propensity"]
    assert log["member"].to_list() == [0, 1, 2, 3]
    assert log["at"][1] == datetime(2019, 11, 24, 0, 0, 1, 510_000, tzinfo=UTC)
    assert log["slot"].to_list() == [0, 1, 2, 0]
    assert log["sale"].to_list() == [0, 3, 2, 1]
    assert log["reward"].to_list() == [1, 0, 0, 0]
    np.testing.assert_allclose(log["log_propensity"].to_numpy(), np.log(0.25))
    np.testing.assert_allclose(np.exp(log["target_log_prob"].to_numpy()), [2 / 3, 0, 1, 1 / 3])
    np.testing.assert_allclose(read(log).weight.ravel(), [8 / 3, 0, 4, 4 / 3])


def test_a_uniform_target_gives_each_item_of_the_context_the_same_chance(
    source: OpenBandit,
) -> None:
    turned = source.model_copy(update={"log": "bts", "target": "random"})
    log = logged(turned)
    assert log["reward"].sum() == 2
    np.testing.assert_allclose(np.exp(log["log_propensity"].to_numpy()), [0.7, 0.6, 0.1, 0.5, 0.9])
    np.testing.assert_allclose(np.exp(log["target_log_prob"].to_numpy()), 0.25)


@pytest.mark.parametrize("target", ["bts", "random"])
def test_chances_of_a_slot_add_up_to_one(source: OpenBandit, target: str) -> None:
    chances = target_chances(source.model_copy(update={"target": target}))
    assert chances.shape == (open_bandit.SLOTS, 4)
    np.testing.assert_allclose(chances.sum(axis=1), 1)


def test_a_file_that_is_not_ours_is_said_to_be_another(
    source: OpenBandit, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, also = notes(source)
    assert other.startswith("md5 of random_men.csv.gz: ")
    assert other.endswith(", not the file of our figures")
    digest = other.removeprefix("md5 of random_men.csv.gz: ").partition(",")[0]
    monkeypatch.setitem(open_bandit.MD5, "random_men.csv.gz", digest)
    assert notes(source) == (f"md5 of random_men.csv.gz: {digest}", also)


def test_a_missing_file_is_named(source: OpenBandit) -> None:
    elsewhere = source.model_copy(update={"campaign": "all"})
    with pytest.raises(SettingError, match=r"does not hold random_all\.csv\.gz"):
        logged(elsewhere)


@pytest.mark.data
def test_the_gate_answers_random_logs_and_refuses_those_of_thompson_sampling(
    measured: Callable[[str], str],
) -> None:
    clicks = {"all": (38, 42), "men": (46, 69), "women": (46, 46)}
    for campaign, counts in clicks.items():
        source = OpenBandit.model_validate({"root": measured("open-bandit"), "campaign": campaign})
        assert not any("not the file" in note for note in notes(source))
        turned = source.model_copy(update={"log": "bts", "target": "random"})
        log, back = logged(source), logged(turned)
        assert (log.height, back.height) == (10_000, 10_000)
        assert (log["reward"].sum(), back["reward"].sum()) == counts
        chances = target_chances(source)[log["slot"].to_numpy()]
        for found in (estimate(log, Snips()), estimate(cross_fitted(log, chances), Dr())):
            assert isinstance(found, PolicyValue)
            # the click rate of the policy's own log
            assert found.low < counts[1] / 10_000 < found.high
        refused = estimate(back, Snips())
        assert isinstance(refused, Refused)
        assert round(refused.ess) == {"all": 340, "men": 656, "women": 2}[campaign]
