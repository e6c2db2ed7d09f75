"""What the benchmark of the off-policy judge writes, compares and counts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from benchmarks import obp_values, offpolicy
from benchmarks.known_shop import SLOTS, drawn_shop
from benchmarks.offpolicy import Hits, bare, farthest, made_log, write
from recsys.evaluate.offpolicy import Ips, PolicyValue
from recsys.evaluate.support import Refused


def test_what_obp_is_told_is_what_we_judge(tmp_path: Path) -> None:
    write(tmp_path, None)
    (path,) = tmp_path.iterdir()
    asked = made_log()
    with np.load(path, allow_pickle=False) as log:
        row = np.arange(len(log["sale"]))
        weight = log["chances"][row, log["sale"], log["slot"]] / log["propensity"]
        q_target = (log["chances"] * log["rewards"])[row, :, log["slot"]].sum(axis=1)
        missed = log["reward"] - log["rewards"][row, log["sale"], log["slot"]]
    assert path.stem == "made"
    found = bare(asked.modelled)
    assert found["ips"] == pytest.approx((weight * asked.frame["reward"].to_numpy()).mean())
    assert found["dr"] == pytest.approx((q_target + weight * missed).mean())
    assert found["ips"] != found["ips_clipped"]


def test_obps_answers_are_written_by_log_and_name_their_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["obp_values.py", str(tmp_path), str(tmp_path / "out.json")])
    obp_values.main()
    assert "sb-obp is not installed here" in capsys.readouterr().out

    def fake(name: str) -> Any:
        assert name == "obp.ope"
        return SimpleNamespace(
            InverseProbabilityWeighting=lambda lambda_=9.0: says(lambda_),
            SelfNormalizedInverseProbabilityWeighting=lambda: says(2.0),
            DoublyRobust=lambda: says(3.0),
            DoublyRobustWithShrinkage=lambda **asked: says(asked["lambda_"]),
        )

    def says(figure: float) -> Any:
        return SimpleNamespace(estimate_policy_value=lambda reward, **_: figure + 0 * reward[0])

    monkeypatch.setattr(obp_values, "find_spec", lambda _: True)
    monkeypatch.setattr(obp_values, "import_module", fake)
    monkeypatch.setattr(obp_values, "version", lambda _: "0.0")
    write(tmp_path, None)
    obp_values.main()
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["sb-obp"] == "0.0"
    assert found["made"] == {
        "ips": 9.0,
        "ips_clipped": obp_values.CLIP,
        "snips": 2.0,
        "dr": 3.0,
        "dr_os": obp_values.SHRINK,
        "same_showings": None,
    }


def test_the_largest_difference_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    ours = bare(made_log().modelled)
    theirs = ours | {"dr": ours["dr"] + 0.25, "same_showings": False}
    apart = farthest({"made": theirs}, None)
    assert apart == dict.fromkeys(ours, 0.0) | {"dr": pytest.approx(0.25)}
    assert "OTHER SHOWINGS" in capsys.readouterr().out


def test_hits_are_counted_and_refusals_apart() -> None:
    hits = Hits()
    about = {"n": 9, "ess": 9, "weight_mean": 1, "weight_max": 1, "missing_support": 0}
    rest = about | {"left_out_share": 0, "method": Ips()}
    for value in (1.0, 2.0):
        hits.add(PolicyValue(value=value, low=value - 0.5, high=value + 0.5, **rest), 1.25)
    hits.add(Refused(why=("no",), ess=1, missing_support=0), 1.25)
    assert (hits.inside, hits.refused, hits.width) == ([True, False], 1, [1.0, 1.0])


def test_a_known_shops_truth_is_the_mean_of_what_its_target_plays() -> None:
    shop = drawn_shop(3, members=5)
    member = np.arange(100_000) % 5
    draws = np.random.default_rng(1).random((len(member), SLOTS))
    slates = shop.policies[1].act(shop.offers[1].take(member), draws).columns
    played = shop.clicks(member, slates).sum(axis=1)
    error = played.std() / len(played) ** 0.5
    assert abs(played.mean() - shop.truths["prefix"]) < 4 * error


def test_a_known_shops_model_is_asked_of_all_that_may_follow() -> None:
    shop = drawn_shop(4, members=3, width=4)
    log = shop.log(1, 50)
    member = np.arange(50) % 3
    columns = np.tile(np.array([1, 3, 0]), (50, 1))
    chances = shop._chances(member, columns).reshape(50, SLOTS, 4)
    np.testing.assert_allclose(chances.sum(axis=2), 1, atol=1e-6)
    assert (chances[:, 1, 1] == 0).all()
    assert (chances[:, 2, [1, 3]] == 0).all()
    own = np.exp(shop.log_prob(1, member, columns))
    np.testing.assert_allclose(chances[:, np.arange(SLOTS), columns[0]], own)
    assert set(log.columns) > {"q", "q_target", "sale", "slot"}


def test_the_tables_tell_answers_and_refusals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(offpolicy, "VISITS", 1_500)
    monkeypatch.setattr(offpolicy, "flash_sales_shop", drawn_shop)
    monkeypatch.setattr(sys, "argv", ["offpolicy", "--seeds", "2"])
    offpolicy.main()
    told = capsys.readouterr().out
    assert "refused: effective sample size" in told
    assert told.count("flash_sales, ") == 8


def test_a_made_log_is_the_same_everywhere() -> None:
    asked = made_log(6)
    assert asked.frame["sale"].to_list() == made_log(400).frame["sale"].to_list()[:6]
    assert isinstance(asked.frame, pl.DataFrame)
    np.testing.assert_allclose(asked.chances.sum(axis=1), 1)
