"""The retailer's days: they run from local noon to local noon."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from recsys.domain.arrays import I64

FIRST_DAY = date(2026, 3, 2)
"""Day 0, a Monday; a month of it holds the change to summer time."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def noons(zone: str, days: int) -> I64:
    """Return the local noons of days -1 .. days + 2, I64[days + 4] UTC us; day d is at d + 1."""
    there = ZoneInfo(zone)
    starts = (
        datetime.combine(FIRST_DAY + timedelta(days=day), time(12), tzinfo=there)
        for day in range(-1, days + 3)
    )
    return np.array([(start - _EPOCH) // _MICROSECOND for start in starts], dtype=np.int64)


def weekday(day: int) -> int:
    """Return 0 for Monday to 6 for Sunday."""
    return day % 7


def is_payday(day: int) -> bool:
    """Tell whether salaries have just come: the 25th to the 28th."""
    return 25 <= (FIRST_DAY + timedelta(days=day)).day <= 28


def season(day: int) -> int:
    """Return 1 for spring to 4 for winter, as in `words.SEASONS`."""
    return (FIRST_DAY + timedelta(days=day)).month % 12 // 3 or 4
