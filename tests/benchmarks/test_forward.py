"""Policies compared over weeks, on members that can be counted by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.forward import (
    BARS,
    CELLS,
    MEASURES,
    OTHERS,
    WITHOUT,
    WORTHLESS,
    Brought,
    by_world,
    compared,
    main,
    plans_of,
    settings,
    told,
)
from recsys.rerank.spec import Blend
from recsys.runs.forward import PLANS, forward, start
from recsys.world.play import respond
from recsys.world.policy import logging_policy


def brought(seed: int, *, more: float = 1.0, members: int = 300) -> Brought:
    """The same luck for each seed; `more` times as much of all that is good."""
    rng = np.random.default_rng(seed)
    by_member = rng.poisson(1.0, (members, len(MEASURES))).astype(np.float64)
    by_member[:, :4] *= more
    return Brought(by_member)


def test_gains_are_shares_of_the_sums_over_all_worlds() -> None:
    one = {"value": Brought(np.full((10, 5), 2.0)), "stack": Brought(np.full((10, 5), 3.0))}
    other = {"value": Brought(np.full((30, 5), 2.0)), "stack": Brought(np.full((30, 5), 2.0))}
    for row in compared([one, other], "stack", beside="value"):
        assert row.value == pytest.approx(10 / 80)
        assert row.n == 40
        assert row.low < row.value < row.high
    gains = by_world([one, other], "stack", beside="value", measure="margin")
    assert gains == pytest.approx([0.5, 0.0])


def test_what_both_policies_share_is_no_noise() -> None:
    """Each member brings a tenth more: however members differ, the interval has no width."""
    worlds = [{"value": brought(seed), "stack": brought(seed, more=1.1)} for seed in (1, 2)]
    margin = compared(worlds, "stack", beside="value")[0]
    assert margin.value == pytest.approx(0.1)
    assert margin.high - margin.low < 1e-5


def test_policies_alike_but_for_luck_are_not_told_apart() -> None:
    worlds = [{"value": brought(seed), "stack": brought(seed + 100)} for seed in (1, 2)]
    for row in compared(worlds, "stack", beside="value"):
        assert row.low < 0 < row.high


def test_nothing_beside_nothing_is_no_gain() -> None:
    nothing = {name: Brought(np.zeros((5, 5))) for name in ("value", "stack")}
    assert {row.value for row in compared([nothing], "stack", beside="value")} == {0.0}


def test_bars_stand_at_the_defaults_alone(capsys: pytest.CaptureFixture[str]) -> None:
    worlds = [{name: brought(1, more=1.1 if name == "stack" else 1.0) for name in PLANS}]
    rows = told("defaults", worlds)
    judged = {row.name: row.verdict for row in rows if row.bar is not None}
    assert judged == {
        "defaults: stack: margin": "met",
        "defaults: stack: first buyers": "missed",
    }
    assert all(row.bar is None for row in told("irritation 0", worlds))
    worthless = {row.name: row.verdict for row in told(WORTHLESS, worlds) if row.bar is not None}
    assert worthless == {f"{WORTHLESS}: stack: margin": "missed"}
    told_alike = told(WORTHLESS, [{name: brought(1) for name in PLANS}])
    assert {row.verdict for row in told_alike} == {None, "met"}
    assert "beside top-N" in capsys.readouterr().out


def test_each_part_is_removed_alone_and_at_the_defaults() -> None:
    full = Blend().model_dump()
    for plan in WITHOUT.values():
        changed = {name for name, one in plan.rerank.model_dump().items() if one != full[name]}
        assert len(changed) == 1
    assert set(plans_of("defaults")) == {*PLANS, *OTHERS, *WITHOUT}
    assert set(plans_of(WORTHLESS)) == {*PLANS, "dial at 0"}
    assert set(plans_of("irritation 2")) == set(PLANS)
    assert set(BARS) < set(MEASURES)
    assert len(CELLS) == 5
    assert all(len(changes) == 1 for cell, changes in CELLS.items() if cell != "defaults")


def test_what_members_brought_adds_up_to_the_totals_of_the_days(tmp_path: Path) -> None:
    begun = start(settings(1, quick=True), days=3, folder=tmp_path)
    found = Brought.by(begun, PLANS["value"], days=3).by_member.sum(axis=0)
    days = [day.totals for day in forward(begun, PLANS["value"], days=3)]
    assert found[0] == pytest.approx(sum(day.margin for day in days), abs=0.01 * found[1])
    assert found[1] == sum(day.purchases for day in days) > 0
    assert found[3] == sum(day.first_brand_purchases for day in days)
    assert found[2] <= found[3]
    assert found[4] == sum(day.unsubscribes for day in days)
    logged = respond(begun.world, begun.state, policy=logging_policy, days=3).totals
    assert found[1] != sum(day.purchases for day in logged)


def test_the_last_line_is_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["forward", "--quick", "--cells", "irritation 2"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("  5 days forward, worlds 1: our targets, in our world")
    said = json.loads(lines[-1])
    assert said["benchmark"] == "forward"
    assert len(said["rows"]) == 2 * len(MEASURES)
