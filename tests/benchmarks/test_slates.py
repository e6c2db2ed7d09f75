"""What is said of slates is of full slates, by the processor's clock, beside the bars."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.slates import BARS, POLICIES, SALES, SLOTS, filled, offers_of, rows_of, table
from benchmarks.turns import Took, line
from recsys.domain.arrays import NONE


@pytest.mark.parametrize("name", POLICIES)
def test_what_is_timed_fills_the_slates_of_every_member(name: str) -> None:
    offers = offers_of(1_100)
    assert [len(offer.eligible) for offer in offers] == [1_024, 76]
    took = filled(POLICIES[name], offers)
    assert took.work == 1_100
    assert took.processor > 0
    for offer in offers:
        columns = POLICIES[name].act(offer, np.full((len(offer.eligible), SLOTS), 0.5)).columns
        assert columns.shape == (len(offer.eligible), SLOTS)
        assert (columns != NONE).all()
        assert columns.max() < SALES


def test_variety_has_work_to_do_in_the_shop_that_is_timed() -> None:
    (offer,) = offers_of(500)
    draws = np.zeros((500, SLOTS))
    plain = POLICIES["topk"].act(offer, draws).columns
    for name in set(BARS) - {"topk"}:
        other = POLICIES[name].act(offer, draws).columns
        assert (np.sort(other, axis=1) != np.sort(plain, axis=1)).any(axis=1).mean() > 0.02


def test_a_figure_is_microseconds_of_the_processor_for_a_member() -> None:
    turns = [Took(1_000, 9.0, 0.001), Took(1_000, 9.0, 0.0011), Took(1_000, 9.0, 0.0012)]
    row, other = rows_of({"topk": turns, "mmr, spaced": turns[:1]})
    assert (row.value, row.low, row.high) == pytest.approx((1.1, 1.0, 1.2))
    assert (row.bar, row.verdict) == (1.2, "met")
    assert (other.bar, other.verdict) == (None, None)
    said = table([row, other]).splitlines()
    assert said[1].split() == ["topk", "1.2", "1.10", "1.00", "to", "1.20", "met"]
    assert json.loads(line("slates", [row]))["rows"][0]["verdict"] == "met"


def test_a_bar_is_missed_where_every_turn_is_slower() -> None:
    slow = [Took(1_000, 9.0, 0.002)] * 3
    assert {name: rows_of({name: slow})[0].verdict for name in ("topk", "dpp")} == {
        "topk": "missed",
        "dpp": "met",
    }
