"""Columns of any type in, columns of the canonical type out, with what could not be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from recsys.data.instants import to_utc
from recsys.data.rules import Role

UTC_US = pl.Datetime("us", "UTC")
TYPES: dict[Role, pl.DataType] = {
    "id": pl.String(),
    "number": pl.Float64(),
    "time": UTC_US,
    "word": pl.String(),
    "flag": pl.Boolean(),
    "text": pl.String(),
    "bag": pl.List(pl.String),
    "vector": pl.List(pl.Float32),
}
YES = ("true", "t", "yes", "y", "1", "1.0")
NO = ("false", "f", "no", "n", "0", "0.0")
OFFSET = r"(?i)([+-]\d\d:?\d\d|z|utc)$"
EPOCH = r"^\d{9,19}(\.\d+)?$"


class UnreadableError(Exception):
    """No value of the column can be read in the role it was given."""


@dataclass(frozen=True)
class Reading:
    """A column as its role wants it; all of length n."""

    values: pl.Series
    """Of the role's type; null where nothing was there or nothing could be read."""
    lost: pl.Series
    """Something was there and could not be read, Bool[n]."""
    off_clock: pl.Series
    """A local time that its zone's clock skipped, Bool[n]; these are not `lost`."""
    doubled: int = 0
    """Local times that the clock showed twice."""


def read(raw: pl.Series, role: Role, zone: str) -> Reading:
    """Read a column in a role; times without an offset are on the clock of `zone`.

    Raises:
        UnreadableError: The type cannot hold such values, or not one of three or more can be read.
    """
    if raw.dtype == pl.Null:
        return _reading(raw, raw.cast(TYPES[role]))
    if isinstance(raw.dtype, pl.Categorical | pl.Enum):
        raw = raw.cast(pl.String)
    reading = _time(raw, zone) if role == "time" else _reading(raw, READERS[role](raw))
    there = _there(raw)
    if there.sum() >= 3 and (reading.lost | ~there).all():
        first = raw.filter(there)[0]
        raise UnreadableError(f"none of its {there.sum():,} values can be read, such as {first!r}")
    return reading


def integral(raw: pl.Series) -> bool:
    """Say whether floats are whole numbers, as ids are after a table was read with gaps."""
    known = raw.drop_nulls()
    return bool((known.is_finite() & (known == known.floor()) & (known.abs() < 2**53)).all())


def _reading(raw: pl.Series, values: pl.Series) -> Reading:
    values = values.rename(raw.name)
    never = pl.repeat(value=False, n=len(raw), eager=True)
    return Reading(values=values, lost=_there(raw) & values.is_null(), off_clock=never)


def _there(raw: pl.Series) -> pl.Series:
    if raw.dtype == pl.String:
        return (raw.str.strip_chars().str.len_bytes() > 0).fill_null(value=False)
    return raw.is_not_null()


def _id(raw: pl.Series) -> pl.Series:
    if raw.dtype.is_float() and integral(raw):
        raw = raw.cast(pl.Int64)
    if not (raw.dtype.is_numeric() or raw.dtype == pl.String):
        raise UnreadableError(f"{raw.dtype} cannot be an id")
    text = raw.cast(pl.String)
    return text.set(~_there(text), None)


def _text(raw: pl.Series) -> pl.Series:
    if raw.dtype.is_nested():
        raise UnreadableError(f"{raw.dtype} cannot be text")
    if raw.dtype.is_float() and integral(raw):
        raw = raw.cast(pl.Int64)
    text = raw.cast(pl.String)
    return text.set(~_there(text), None)


def _word(raw: pl.Series) -> pl.Series:
    return _text(raw).str.strip_chars().str.to_lowercase().str.replace_all(r"[\s-]+", "_")


def _number(raw: pl.Series) -> pl.Series:
    if raw.dtype == pl.String:
        return raw.str.strip_chars().cast(pl.Float64, strict=False)
    if not (raw.dtype.is_numeric() or raw.dtype == pl.Boolean):
        raise UnreadableError(f"{raw.dtype} cannot be a number")
    return raw.cast(pl.Float64)


def _flag(raw: pl.Series) -> pl.Series:
    if raw.dtype == pl.Boolean:
        return raw
    word = _word(raw)
    known = word.is_in(YES)
    return known.set(~(known | word.is_in(NO)).fill_null(value=False), None)


def _bag(raw: pl.Series) -> pl.Series:
    if not isinstance(raw.dtype, pl.List | pl.Array):
        return raw.to_frame().select(pl.concat_list(_text(raw)))[raw.name].set(~_there(raw), None)
    return raw.cast(pl.List(pl.String)).list.drop_nulls()


def _vector(raw: pl.Series) -> pl.Series:
    if not isinstance(raw.dtype, pl.List | pl.Array):
        raise UnreadableError(f"{raw.dtype} cannot be a vector")
    vectors = raw.cast(pl.List(pl.Float32))
    if vectors.list.len().drop_nulls().n_unique() > 1:
        raise UnreadableError("its vectors differ in length")
    return vectors


READERS: dict[Role, Callable[[pl.Series], pl.Series]] = {
    "id": _id,
    "number": _number,
    "word": _word,
    "flag": _flag,
    "text": _text,
    "bag": _bag,
    "vector": _vector,
}


def _time(raw: pl.Series, zone: str) -> Reading:
    if raw.dtype == pl.Date:
        raw = raw.cast(pl.Datetime("us"))
    if raw.dtype.is_numeric():
        return _reading(raw, _epoch(raw))
    if raw.dtype == pl.String:
        return _written_time(raw, zone)
    if not isinstance(raw.dtype, pl.Datetime):
        raise UnreadableError(f"{raw.dtype} cannot be an instant")
    if raw.dtype.time_zone is not None:
        return _reading(raw, raw.dt.convert_time_zone("UTC").cast(UTC_US))
    return _local_time(raw, raw, zone)


def _local_time(raw: pl.Series, naive: pl.Series, zone: str) -> Reading:
    clock = to_utc(naive.rename(raw.name).to_frame(), raw.name, zone)
    values = clock.frame[raw.name]
    lost = _there(raw) & values.is_null() & ~clock.missing
    return Reading(values, lost, clock.missing, clock.doubled)


def _written_time(raw: pl.Series, zone: str) -> Reading:
    """Read ISO 8601 with or without offset, and seconds to nanoseconds since 1970."""
    text = raw.str.strip_chars().str.replace(r"^(\d{4}-\d\d-\d\d)[Tt]", "${1} ")
    naive = _first_of(text, "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
    local = _local_time(raw, naive, zone)
    if not local.lost.any():
        return local
    # only texts that the commonest form does not fit pay for the others
    numbers = text.set(~text.str.contains(EPOCH), None).cast(pl.Float64, strict=False)
    offset = text.set(~text.str.contains(OFFSET), None)
    offset = offset.str.replace(r"(?i)\s*(z|utc)$", "+00:00")
    aware = _first_of(offset, "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z", zone="UTC")
    values = local.values.zip_with(local.values.is_not_null(), aware)
    values = values.zip_with(values.is_not_null(), _epoch(numbers)).rename(raw.name)
    return Reading(values, local.lost & values.is_null(), local.off_clock, local.doubled)


def _first_of(text: pl.Series, *formats: str, zone: str | None = None) -> pl.Series:
    kind = pl.Datetime("us", zone)
    parsed = text.str.strptime(kind, formats[0], strict=False)
    for form in formats[1:]:
        if parsed.null_count() > text.null_count():
            again = text.str.strptime(kind, form, strict=False)
            parsed = parsed.zip_with(parsed.is_not_null(), again)
    return parsed


def _epoch(raw: pl.Series) -> pl.Series:
    """Read numbers since 1970; their size tells seconds, milli-, micro- and nanoseconds apart."""
    size = pl.col("n").abs()
    scaled = (
        pl
        .when(size < 1e11)
        .then(pl.col("n") * 1e6)
        .when(size < 1e14)
        .then(pl.col("n") * 1e3)
        .when(size < 1e17)
        .then(pl.col("n"))
        .otherwise(pl.col("n") / 1e3)
    )
    # whole microseconds up to the year 2255 are exact in float64
    frame = pl.DataFrame({"n": raw.cast(pl.Float64)})
    finite = pl.when(pl.col("n").is_finite()).then(scaled)
    return frame.select(finite.round().cast(pl.Int64, strict=False).cast(UTC_US))["n"]
