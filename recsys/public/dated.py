"""Instants for events that have none: what loaders of undated sets give them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from recsys.domain.arrays import I64
from recsys.domain.ties import uniform

ZONE = "UTC"
DAY_0 = datetime(2020, 1, 1, tzinfo=UTC)
"""Days are counted from here; the date means nothing."""
BEFORE_LAST_TWO = -2
"""Before this day lie the events of a sequence that are neither of validation nor of the test."""


def midnight(day: int) -> datetime:
    """Return the midnight at which a day begins."""
    return DAY_0 + timedelta(days=day)


def noon(day: pl.Expr) -> pl.Expr:
    """Return the noon of a day as Datetime("us", "UTC")."""
    return pl.lit(DAY_0).dt.cast_time_unit("us") + pl.duration(days=day, hours=12)


def dealt(member: I64, sale: I64, days: int, *, seed: int) -> I64:
    """Deal pairs whose order is unknown to days 0 to days - 1 by a hash of seed and ids, I64[p]."""
    return (uniform(seed, member, sale) * days).astype(np.int64)


def one_out(events: pl.DataFrame) -> pl.DataFrame:
    """Date the events of each `member`, given in order, by the column `at`.

    The last stands at the noon of day -1 (the test), the one before at that of day -2
    (validation), the others an hour apart before that day.
    """
    to_come = pl.int_range(pl.len()).reverse().over("member")
    train = pl.lit(midnight(BEFORE_LAST_TWO)).dt.cast_time_unit("us")
    hours_before = train + pl.duration(minutes=90 - 60 * to_come)
    last_two = noon(-1 - to_come)
    return events.with_columns(at=pl.when(to_come < 2).then(last_two).otherwise(hours_before))
