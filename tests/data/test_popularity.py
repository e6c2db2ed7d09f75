from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.popularity import Popularity
from recsys.domain.events import DAY, HOUR
from tests.data.shops import START, random_events

SALES = 120


@given(st.integers(0, 50), st.integers(0, 40 * 24), st.sampled_from([None, HOUR, 7 * DAY]))
def test_counts_equal_a_count_by_hand(seed: int, hours: int, window: int | None) -> None:
    history = random_events(seed, n=200)
    at = START + hours * HOUR
    counts = Popularity.of(history, SALES).counts(
        np.arange(SALES, dtype=np.int32), at, window_us=window
    )
    within = history.at < at
    if window is not None:
        within &= history.at >= at - window
    assert counts.dtype == np.float32
    assert (counts == np.bincount(history.sale[within], minlength=SALES)).all()


def test_shelves_of_several_instants_are_counted_at_once() -> None:
    popularity = Popularity.of(random_events(1), SALES)
    at = START + np.array([[5], [20], [39]]) * DAY
    sales = np.arange(SALES, dtype=np.int32)
    together = popularity.counts(np.tile(sales, (3, 1)), at, window_us=2 * DAY)
    apart = [popularity.counts(sales, int(one), window_us=2 * DAY) for one in at[:, 0]]
    assert (together == np.stack(apart)).all()
    assert together.sum() > 0


@given(st.integers(0, 50), st.integers(1, 39))
def test_the_future_changes_no_count(seed: int, day: int) -> None:
    history = random_events(seed, n=200)
    at, sales = START + day * DAY, np.arange(SALES, dtype=np.int32)
    past = history.where(history.at < at)
    counts = Popularity.of(history, SALES).counts(sales, at)
    assert (Popularity.of(past, SALES).counts(sales, at) == counts).all()


def test_a_shop_without_events_counts_nothing() -> None:
    history = random_events(0, n=0)
    counts = Popularity.of(history, SALES).counts(np.array([0, 5], dtype=np.int32), START)
    assert counts.tolist() == [0, 0]
