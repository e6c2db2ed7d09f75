"""Days for events that have none: the instants that loaders of undated sets give."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

FIRST = datetime(2020, 1, 1, tzinfo=UTC)
"""Midnight of the first day that is dealt out; the date means nothing."""
ZONE = "UTC"


def noon(day: pl.Expr) -> pl.Expr:
    """Return the noon of a day, counted from FIRST, as Datetime("us", "UTC")."""
    return pl.lit(FIRST).dt.cast_time_unit("us") + pl.duration(days=day, hours=12)


def midnight(day: int) -> datetime:
    """Return the midnight at which a day begins, counted from FIRST."""
    return FIRST + timedelta(days=day)
