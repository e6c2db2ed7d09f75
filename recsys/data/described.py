"""What is said of newcomers in, features out: as `encode` makes them of a table, but at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cached_property
from itertools import starmap
from typing import TypeAlias, assert_never
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from recsys.data.bags import NO_CELLS, Cells, text_cells
from recsys.data.columns import EVERYONE, HOUR_OF_DAY, SEASON, WEEKDAY
from recsys.data.encoders import Column
from recsys.data.hashing import MISSING, Hasher, table_row
from recsys.domain.arrays import F32, I32
from recsys.domain.clock import EPOCH
from recsys.domain.encoded import Features
from recsys.domain.errors import SettingError
from recsys.domain.schema import Bag, Categorical, FeatureSpec, Instant, Numeric, Text, Vector

Said: TypeAlias = Mapping[str, object]
"""Column -> what is said of one newcomer, as JSON has it; a column that is not there is unknown."""

MOST_VALUES, MOST_LETTERS = 200, 500
"""Of one cell: a caller from outside may not keep us busy with words nobody ever wrote."""
_UNITS = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0))
"""Numbers of time below the first are of so many microseconds each."""


@dataclass(frozen=True)
class MemberColumns:
    """The columns by which members are described, and how each becomes numbers."""

    features: tuple[FeatureSpec, ...]
    """As the schema has them, c of them."""
    fitted: tuple[Column, ...]
    """As the encoders have them: an instant has become its cycles there."""
    table_bits: int
    """The shared table has 2^table_bits rows."""
    zone: str
    """IANA name of the business time zone."""

    @property
    def names(self) -> tuple[str, ...]:
        """What may be said of a newcomer."""
        return tuple(feature.column for feature in self.features)

    def __call__(self, said: Sequence[Said]) -> Features:
        """Return the features of n newcomers; values never seen hash like others.

        Raises:
            SettingError: a column is none of members, or what is said cannot be read in its role.
        """
        told = [self._plain(one) for one in said]
        values = [[one.get(column.feature.column) for one in told] for column in self.fitted]
        cells = [
            NO_CELLS,
            *starmap(self._cells, zip(self.fitted, values, strict=True)),
        ]
        blank = np.zeros((len(said), 0), dtype=np.float32)
        dense = list(starmap(_dense, zip(self.fitted, values, strict=True)))
        entity = np.concatenate([field.entity for field in cells])
        order = np.argsort(entity, kind="stable")
        # NO_CELLS stands before the first field
        field = np.repeat(np.arange(-1, len(self.fitted)), [len(one.entity) for one in cells])
        counts = np.bincount(entity, minlength=len(said))
        return Features(
            ptr=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            row=np.concatenate([one.row for one in cells])[order],
            field=field[order].astype(np.int16),
            weight=np.concatenate([one.weight for one in cells])[order],
            fields=tuple(column.field for column in self.fitted),
            missing_row=self._missing,
            dense=np.concatenate([blank, *dense], axis=1),
            dense_names=self._dense_names,
        )

    @cached_property
    def _missing(self) -> I32:
        rows = [table_row(column.field, MISSING, self.table_bits) for column in self.fitted]
        return np.array(rows, dtype=np.int32)

    @cached_property
    def _dense_names(self) -> tuple[str, ...]:
        widths = [(column.field, _dense(column, []).shape[1]) for column in self.fitted]
        return tuple(
            field if width == 1 else f"{field}.{place}"
            for field, width in widths
            for place in range(width)
        )

    def _plain(self, said: Said) -> dict[str, object]:
        """Put the cycles of instants in their place, and add the field that everyone shares."""
        for name in said:
            if name not in self.names:
                near = get_close_matches(name, self.names, n=1)
                raise SettingError(
                    f"members have no column '{name}'" + (f": '{near[0]}'?" if near else ""),
                    f"columns are: {', '.join(self.names) or 'none'}",
                )
        plain = dict(said)
        for feature in self.features:
            if isinstance(feature, Instant):
                plain |= _cycles(feature.column, plain.pop(feature.column, None), self.zone)
        return {EVERYONE: EVERYONE} | plain

    def _cells(self, column: Column, values: list[object]) -> Cells:
        name = column.feature.column
        match column.feature:
            case Categorical():
                texts = [texts_of(name, value, many=False) for value in values]
            case Bag():
                texts = [texts_of(name, value, many=True) for value in values]
            case Text(ngrams=grams):
                words = [texts_of(name, value, many=False) for value in values]
                series = pl.Series([one[0] if one else None for one in words], dtype=pl.String)
                hasher = Hasher(self.table_bits)
                return _weighed(
                    text_cells(series, column.field, grams=grams, hasher=hasher), column
                )
            case Numeric():
                texts = _buckets(column, _numbers(name, values))
            case Vector():
                texts = [
                    ["known"] if _vector(column, value) is not None else [] for value in values
                ]
            case _:
                assert_never(column.feature)
        return _weighed(self._hashed(column, texts), column)

    def _hashed(self, column: Column, texts: list[list[str]]) -> Cells:
        """Hash the values that n newcomers have in a field; who has none gets its missing row."""
        named = isinstance(column.feature, Categorical | Bag)
        salt, bits = column.salt if named else column.field, self.table_bits
        rows = [
            sorted({table_row(salt, text, bits) for text in one})
            or [table_row(column.field, MISSING, bits)]
            for one in texts
        ]
        counts = np.array([len(one) for one in rows], dtype=np.int64)
        return Cells(
            entity=np.repeat(np.arange(len(rows)), counts),
            row=np.array([row for one in rows for row in one], dtype=np.int32),
            weight=np.repeat(1 / np.sqrt(counts), counts).astype(np.float32),
        )


def _weighed(cells: Cells, column: Column) -> Cells:
    return cells if column.rarity is None else column.rarity.weigh(cells)


def _dense(column: Column, values: list[object]) -> F32:
    name = column.feature.column
    match column.feature:
        case Numeric():
            return column.measured_scale.dense(_numbers(name, values))[:, None]
        case Vector():
            whitening = column.measured_whitening
            dense = np.zeros((len(values), whitening.matrix.shape[1]), dtype=np.float32)
            known = [_vector(column, value) for value in values]
            rows = [row for row, vector in enumerate(known) if vector is not None]
            if rows:
                dense[rows] = whitening(np.stack([one for one in known if one is not None]))
            return dense
        case Categorical() | Bag() | Text():
            return np.zeros((len(values), 0), dtype=np.float32)
        case _:
            assert_never(column.feature)


def texts_of(name: str, value: object, *, many: bool) -> list[str]:
    """Return what a cell says as text, as the data contract reads a table; blank says nothing.

    Raises:
        SettingError: it is no value, or several where one is wanted, or too long.
    """
    if isinstance(value, list | tuple):
        if not many:
            raise SettingError(f"'{name}' of a newcomer is a list, wanted one value")
        if len(value) > MOST_VALUES:
            raise SettingError(f"'{name}' of a newcomer has more than {MOST_VALUES} values")
        return [text for one in value for text in _text(name, one, whole=False)]
    return _text(name, value, whole=True)


def _text(name: str, value: object, *, whole: bool) -> list[str]:
    """Return one value as text; `whole`: a column of floats that are whole numbers is of these."""
    match value:
        case None:
            return []
        case bool():
            return ["true" if value else "false"]
        case str():
            if len(value) > MOST_LETTERS:
                raise SettingError(f"'{name}' of a newcomer is longer than {MOST_LETTERS} letters")
            return [] if blank(value) else [value]
        case int():
            return [str(value)]
        case float():
            if whole and value.is_integer() and abs(value) < 2**53:
                return [str(int(value))]
            return [pl.Series([value]).cast(pl.String)[0]]
        case _:
            raise SettingError(f"'{name}' of a newcomer is a {type(value).__name__}, wanted text")


def blank(text: str) -> bool:
    """Tell whether a text says nothing, as polars tells it of a table: Unicode's White_Space."""
    # four separators are space to Python alone
    return all(letter.isspace() and not "\x1c" <= letter <= "\x1f" for letter in text)


def _numbers(name: str, values: list[object]) -> pl.Series:
    return pl.Series([_number(name, value) for value in values], dtype=pl.Float64)


def _number(name: str, value: object) -> float | None:
    if value is None or (isinstance(value, str) and blank(value)):
        return None
    if isinstance(value, bool | int | float | str):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise SettingError(f"'{name}' of a newcomer cannot be read as a number")


def _buckets(column: Column, values: pl.Series) -> list[list[str]]:
    scale = column.measured_scale
    pairs = zip(scale.known(values).tolist(), scale.bucket(values).tolist(), strict=True)
    return [[str(bucket)] if known else [] for known, bucket in pairs]


def _vector(column: Column, value: object) -> F32 | None:
    """Return a vector F32[d], or None where a number of it is missing or not finite."""
    if value is None:
        return None
    name, width = column.feature.column, len(column.measured_whitening.mean)
    if not isinstance(value, list | tuple) or len(value) != width:
        raise SettingError(f"'{name}' of a newcomer is no list of {width} numbers")
    numbers = [_number(name, one) for one in value]
    vector = np.array([np.nan if one is None else one for one in numbers], dtype=np.float32)
    return vector if np.isfinite(vector).all() else None


def _cycles(name: str, value: object, zone: str) -> dict[str, object]:
    """Return weekday, season and hour of an instant in a zone, as columns of their own."""
    if value is None or (isinstance(value, str) and blank(value)):
        return {}
    try:
        at = _instant(value, ZoneInfo(zone))
    except (TypeError, ValueError, OverflowError):
        raise SettingError(f"'{name}' of a newcomer cannot be read as an instant") from None
    local = at.astimezone(ZoneInfo(zone))
    return {
        f"{name}.{WEEKDAY}": local.isoweekday(),
        f"{name}.{SEASON}": local.month % 12 // 3,
        f"{name}.{HOUR_OF_DAY}": local.hour,
    }


def _instant(value: object, zone: ZoneInfo) -> datetime:
    """Read ISO 8601, without an offset on the clock of `zone`, or a number since 1970.

    Raises:
        TypeError, ValueError, OverflowError: it is neither, or a time that the clock skipped.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        # seconds, milli-, micro- and nanoseconds, told apart as the data contract does
        each = next((us for top, us in _UNITS if abs(value) < top), 1e-3)
        return EPOCH + timedelta(microseconds=round(value * each))
    if not isinstance(value, str | datetime):
        raise TypeError(type(value).__name__)
    at = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
    if at.tzinfo is not None:
        return at
    there = at.replace(tzinfo=zone).astimezone(UTC)
    if there.astimezone(zone).replace(tzinfo=None) != at:
        raise ValueError(value)
    return there
