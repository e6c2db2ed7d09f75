"""Instants as whole numbers, UTC microseconds since 1970, and as the calendar has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def us_of(at: datetime) -> int:
    """Return the UTC microseconds of an instant; without a zone it is read as UTC."""
    known = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (known - EPOCH) // timedelta(microseconds=1)


def utc_of(us: int) -> datetime:
    """Return the instant of UTC microseconds."""
    return EPOCH + timedelta(microseconds=int(us))
