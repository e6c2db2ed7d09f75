"""Local noons, hours and days as UTC instants, and local clock readings turned into UTC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys.domain.arrays import I64
from recsys.domain.events import DAY, HOUR

QUARTER = HOUR // 4
"""Every zone of our time lies a multiple of 15 minutes from UTC, and so does every clock change."""


@dataclass(frozen=True)
class OnClock:
    """What became of local clock readings."""

    frame: pl.DataFrame
    """The column holds UTC instants; null where it was null or never was on the clock."""
    missing: pl.Series
    """True where the reading was skipped by the clock (spring), Bool[n]."""
    doubled: int
    """Readings the clock showed twice (autumn): taken as the first of the two."""


def local_noons(zone: str, first_us: int, last_us: int) -> I64:
    """Return each 12:00 of a zone's clock in [first, last], UTC us; at most one a calendar day."""
    local = _quarters(zone, first_us, last_us)
    noon = (pl.col("local").dt.hour() == 12) & (pl.col("local").dt.minute() == 0)
    return _instants(local.filter(noon))


def local_hours(zone: str, first_us: int, last_us: int) -> I64:
    """Return each full hour of a zone's clock in [first, last], UTC us.

    A doubled hour counts twice; where the clock moves by half an hour, steps are 30 or 90 minutes.
    """
    return _instants(_quarters(zone, first_us, last_us).filter(pl.col("local").dt.minute() == 0))


def local_days(zone: str, first_us: int, last_us: int) -> I64:
    """Return the first instant of each calendar day of a zone in [first, last], UTC us.

    That is midnight, or the first moment after it where the clock skips midnight.
    """
    local = _quarters(zone, first_us - DAY, last_us)
    starts = local.group_by(pl.col("local").dt.date().alias("day"), maintain_order=True).first()
    return _instants(starts.slice(1).filter(pl.col("at") >= first_us))


def utc(column: str, zone: str) -> pl.Expr:
    """Express a column of local clock readings in UTC; null where the clock never showed them."""
    shown = pl.col(column).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return shown.dt.convert_time_zone("UTC").dt.cast_time_unit("us")


def to_utc(frame: pl.DataFrame, column: str, zone: str) -> OnClock:
    """Read a naive datetime column as a zone's clock and put UTC instants in its place."""
    local = frame[column]
    turned = frame.with_columns(utc(column, zone))
    later = local.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
    doubled = (later.dt.convert_time_zone("UTC").dt.cast_time_unit("us") != turned[column]).sum()
    missing = turned[column].is_null() & local.is_not_null()
    return OnClock(frame=turned, missing=missing, doubled=int(doubled))


def _quarters(zone: str, first_us: int, last_us: int) -> pl.DataFrame:
    """Return each quarter of an hour in [first, last]: `at` UTC us and `local` clock reading."""
    start = -(-first_us // QUARTER) * QUARTER
    at = np.arange(start, last_us + 1, QUARTER, dtype=np.int64)
    frame = pl.DataFrame({"at": at})
    return frame.with_columns(
        pl.col("at").cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(zone).alias("local")
    )


def _instants(frame: pl.DataFrame) -> I64:
    return frame["at"].to_numpy().astype(np.int64)
