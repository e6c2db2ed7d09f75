from __future__ import annotations

from dataclasses import dataclass

import pytest

from recsys.campaign.pace import Pace, Way


@dataclass
class Clock:
    """Time that passes only where a test lets it."""

    at: float = 0.0

    def __call__(self) -> float:
        return self.at


def played(
    seconds: dict[Way, float], *, parts: int = 40, workers: int = 1, finish_by: float | None
) -> tuple[list[Way], float]:
    """Make parts of 100 members, `workers` at a time, each as slow as its way; ways and the end."""
    clock = Clock()
    pace = Pace(100 * parts, workers, finish_by, clock)
    busy = [(seconds[pace.way], pace.way)] * workers
    begun, ways = workers, []
    while busy:
        busy.sort()
        clock.at, way = busy.pop(0)
        ways.append(way)
        now = pace.done(100, way)
        if begun < parts:
            busy.append((clock.at + seconds[now], now))
            begun += 1
    return ways, clock.at


SECONDS = {Way.VALUE: 10.0, Way.TASTE: 2.0, Way.PLAIN: 0.1}


def test_without_a_deadline_all_is_made_by_value() -> None:
    ways, _ = played(SECONDS, finish_by=None)
    assert set(ways) == {Way.VALUE}


def test_where_there_is_time_all_is_made_by_value() -> None:
    ways, end = played(SECONDS, finish_by=401.0)
    assert set(ways) == {Way.VALUE}
    assert end <= 401.0


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_what_cannot_be_done_by_value_is_done_by_taste_in_time(workers: int, share: float) -> None:
    finish_by = share * 40 * SECONDS[Way.VALUE] / workers
    ways, end = played(SECONDS, workers=workers, finish_by=finish_by)
    assert end <= finish_by
    assert set(ways) == {Way.VALUE, Way.TASTE}


def test_what_taste_cannot_do_in_time_is_made_without_scores() -> None:
    ways, end = played(SECONDS, finish_by=50.0)
    assert ways == sorted(ways)
    assert set(ways) == set(Way)
    assert end <= 50.0


def test_ways_only_step_down() -> None:
    ways, _ = played(SECONDS | {Way.TASTE: 30.0}, finish_by=150.0)
    assert ways == sorted(ways)


def test_when_the_time_is_over_the_rest_is_plain() -> None:
    ways, _ = played(SECONDS, finish_by=5.0)
    assert ways == [Way.VALUE] + [Way.PLAIN] * 39


def test_the_first_parts_of_a_way_are_not_measured_for_they_wait_for_their_process() -> None:
    clock = Clock()
    pace = Pace(1_000, 1, 60.0, clock)
    clock.at = 30.0
    assert pace.done(100, Way.VALUE) == Way.VALUE
    assert pace.rate is None
    clock.at = 31.0
    assert pace.done(100, Way.VALUE) == Way.VALUE
    assert pace.rate == pytest.approx(100.0)
    assert pace.needs == pytest.approx(8.0)


def test_a_way_that_is_not_there_is_skipped() -> None:
    clock = Clock()
    pace = Pace(1_000, 1, 60.0, clock, ways=(Way.VALUE, Way.PLAIN))
    for at in (20.0, 40.0):
        clock.at = at
        way = pace.done(100, Way.VALUE)
    assert way == Way.PLAIN
    assert pace.needed == pytest.approx(160.0)


def test_where_few_parts_are_to_come_the_first_says_whether_there_is_time() -> None:
    clock = Clock()
    pace = Pace(1_000, 16, 90.0, clock)
    clock.at = 60.0
    # nineteen parts of fifty are left for sixteen hands, and half a minute
    assert pace.done(50, Way.VALUE) == Way.TASTE
    clock.at = 0.0
    calm = Pace(1_000, 16, 200.0, clock)
    clock.at = 60.0
    assert calm.done(50, Way.VALUE) == Way.VALUE
