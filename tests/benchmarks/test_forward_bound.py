"""Rankings that know the truth, on a small world."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.forward import settings
from benchmarks.forward_bound import (
    BY_CHANCE,
    KNOWN,
    VALUE,
    Known,
    brought,
    fill,
    main,
    never_bought,
    played,
)
from recsys.domain.arrays import NONE
from recsys.runs.forward import Start, start
from recsys.world.log import FLAG_NEW
from recsys.world.policy import Noon
from recsys.world.retailer import offer, open_sales
from recsys.world.truth import Truth


@pytest.fixture(scope="module", name="begun")
def _begun(tmp_path_factory: pytest.TempPathFactory) -> Start:
    folder: Path = tmp_path_factory.mktemp("begun")
    return start(settings(1, quick=True), days=3, folder=folder)


def noon_of(begun: Start) -> Noon:
    world, state = begun.world, begun.state
    at = world.noon(state.day)
    today = offer(world, open_sales(world, state, at=at), at=at)
    return Noon(world, state, today, np.arange(50))


def test_slates_hold_the_highest_true_chances_in_order(begun: Start) -> None:
    noon = noon_of(begun)
    columns = fill(noon, known=Known()).columns
    worth = Truth(begun.world, (begun.state,)).expected(noon.rows, noon.offer, what="purchase")
    best = np.take_along_axis(worth, columns, axis=1)
    assert (columns != NONE).all()
    np.testing.assert_array_equal(best, -np.sort(-worth, axis=1)[:, : best.shape[1]])


def test_what_the_truth_calls_new_is_what_the_log_calls_a_first_purchase(begun: Start) -> None:
    noon = noon_of(begun)
    everyone = Noon(noon.world, noon.state, noon.offer, np.arange(len(begun.world.members)))
    new = never_bought(everyone)
    day = next(played(begun, Known(), days=1))
    seen = noon.offer.columns(day.log.sale)
    on_offer = seen != NONE
    said = day.log.flags[on_offer] & FLAG_NEW > 0
    np.testing.assert_array_equal(new[day.log.member[on_offer], seen[on_offer]][said], True)
    assert said.any()


def test_a_dial_shows_more_that_is_new(begun: Start) -> None:
    noon = noon_of(begun)
    new, shares = never_bought(noon), []
    for dial in (0.0, 3.0, 1e6):
        columns = fill(noon, known=Known(dial=dial)).columns
        shares.append(np.take_along_axis(new, columns, axis=1).mean())
    assert shares[0] < shares[2]
    assert shares == sorted(shares)
    assert shares[2] == 1


def test_each_ranking_is_played(begun: Start) -> None:
    found = brought(begun, days=2)
    assert set(found) == {VALUE, *KNOWN}
    assert len({one.by_member.sum(axis=0).tobytes() for one in found.values()}) > 2
    assert found[BY_CHANCE].by_member[:, 1].sum() > 0


def test_the_last_line_is_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["forward_bound", "--quick"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert f"beside {VALUE}" in lines[0]
    said = json.loads(lines[-1])
    assert said["benchmark"] == "forward_bound"
    assert len(said["rows"]) == 2 * (2 * len(KNOWN) - 1)
