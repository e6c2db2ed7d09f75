from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.asof import count_before, curated_at_opening, history_end
from tests.data.shops import START, events, random_events, shop

stretches = st.lists(st.lists(st.integers(0, 20), max_size=9), min_size=1, max_size=6)


@given(stretches, st.integers(-1, 21))
def test_positions_equal_a_count_by_hand(times: list[list[int]], at: int) -> None:
    ptr = np.cumsum([0, *map(len, times)]).astype(np.int64)
    flat = np.array([time for part in times for time in sorted(part)], dtype=np.int64)
    rows = np.arange(len(times), dtype=np.int64)
    found = count_before(ptr, flat, rows, at=np.full(len(times), at, dtype=np.int64))
    by_hand = [sum(time < at for time in part) for part in times]
    assert (found - ptr[:-1]).tolist() == by_hand


@given(st.integers(0, 99), st.data())
def test_nothing_at_or_after_the_instant_is_in_the_past(seed: int, data: st.DataObject) -> None:
    history = random_events(seed, n=120)
    at = data.draw(st.sampled_from(history.at.tolist()))
    members = np.arange(len(history.member_ptr) - 1, dtype=np.int32)
    ends = history_end(history, members, np.full(len(members), at, dtype=np.int64))
    for member, end in enumerate(ends.tolist()):
        first, last = history.member_ptr[member], history.member_ptr[member + 1]
        assert first <= end <= last
        assert (history.at[first:end] < at).all()
        assert (history.at[end:last] >= at).all()


def test_a_history_without_events_ends_where_it_starts() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    history = events(nothing, nothing, nothing, members=3)
    ends = history_end(history, np.arange(3, dtype=np.int32), np.full(3, START))
    assert ends.tolist() == [0, 0, 0]


def test_curated_means_picked_when_it_opened() -> None:
    dataset = shop(random_events(0))
    late = dataset.curation.with_columns(from_at=dataset.curation["from_at"] + 1)
    assert curated_at_opening(dataset.shop).tolist() == dataset.sales["curated"].to_list()
    moved = replace(dataset, curation=late)
    assert not curated_at_opening(moved.shop).any()
