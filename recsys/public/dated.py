"""Instants for events that have none: what loaders of undated sets give them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

ZONE = "UTC"
DAY_0 = datetime(2020, 1, 1, tzinfo=UTC)
"""Days are counted from here; the date means nothing."""


def midnight(day: int) -> datetime:
    """Return the midnight at which a day begins."""
    return DAY_0 + timedelta(days=day)


def early(day: pl.Expr) -> pl.Expr:
    """Return the first minute of a day as Datetime("us", "UTC").

    Judged decisions are made at midnight: a past is then as old in the test as in training.
    """
    return pl.lit(DAY_0).dt.cast_time_unit("us") + pl.duration(days=day, minutes=1)


def one_out(events: pl.DataFrame) -> pl.DataFrame:
    """Date the events of each `member`, given in order, by the column `at`.

    They stand a day apart: the last on day -1 (the test), the one before on day -2 (validation).
    """
    to_come = pl.int_range(pl.len()).reverse().over("member")
    return events.with_columns(at=early(-1 - to_come))
