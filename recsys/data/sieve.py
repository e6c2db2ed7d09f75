"""Rows of one table go through its rules; each row that breaks one is set aside with the reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

import polars as pl
import polars.selectors as cs

from recsys.data.cast import TYPES, Reading, UnreadableError, read
from recsys.data.rules import REASONS, Column, Layout
from recsys.domain.errors import DataRefusedError

ORIGIN = ("source_file", "source_row")
CAST_REASONS = ("not_a_number", "not_a_time", "time_not_on_clock")


@dataclass
class Sieve:
    """One table on its way through the rules: what is still in, and what was set aside."""

    table: str
    raw: pl.DataFrame
    kept: pl.DataFrame
    """Typed canonical and feature columns, and `_row`, the row of `raw`."""
    aside: list[pl.DataFrame] = field(default_factory=list)
    """Frames of _row, reason, column."""
    doubled: int = 0

    @classmethod
    def of(cls, table: str, raw: pl.DataFrame, columns: tuple[Column, ...], *, zone: str) -> Self:
        """Read every column in its role; what cannot be read is marked in the column `lost`."""
        frame: dict[str, pl.Series] = {}
        lost: dict[str, list[pl.Expr]] = {reason: [] for reason in CAST_REASONS}
        doubled = 0
        for column in columns:
            if column.name not in raw.columns:
                empty = pl.Series(column.name, [None] * 0, dtype=TYPES[column.role])
                frame[column.name] = empty.extend_constant(None, raw.height)
                continue
            reading = _read(table, raw[column.name], column, zone=zone)
            frame[column.name] = reading.values
            doubled += reading.doubled
            for reason, mask in _marks(reading, column):
                if mask.any():
                    mark = pl.lit(f"{reason}|{column.name}")
                    lost[reason].append(pl.when(pl.lit(mask)).then(mark))
        marks = [mark for reason in CAST_REASONS for mark in lost[reason]]
        kept = pl.DataFrame(frame).with_row_index("_row")
        return cls(
            table=table,
            raw=raw,
            kept=kept.with_columns(pl.coalesce(*marks, pl.lit(None, pl.String)).alias("lost")),
            doubled=doubled,
        )

    def judge(self, layout: Layout, latest: datetime) -> None:
        """Set aside the rows that break a rule on themselves alone; dataframely splits them."""
        typed = self.kept.with_columns(pl.lit(latest).dt.cast_time_unit("us").alias("latest"))
        names = layout.rules.column_names()
        _, failure = layout.rules.filter(typed.select(names))
        details = failure.details().select(cs.by_name("_row") | ~cs.by_name(*names))
        bad = (
            self.kept
            .select("_row", "lost")
            .join(details, on="_row", how="left")
            .filter(pl.col("lost").is_not_null() | pl.col("_row").is_in(details["_row"].implode()))
        )
        first = bad.select("_row", pl.coalesce(_in_order(details.columns[1:])).alias("mark"))
        marks = self.kept.select("_row").join(first, on="_row", how="left", maintain_order="left")
        self.set_aside(marks["mark"])
        self.kept = self.kept.drop("lost")

    def set_aside(self, marks: pl.Series) -> None:
        """Set aside the rows whose mark "reason|column" (column may be empty) is not null."""
        bad = marks.is_not_null()
        if not bad.any():
            return
        parts = marks.filter(bad).str.split_exact("|", 1).struct.unnest()
        self.aside.append(
            pl.DataFrame({
                "_row": self.kept["_row"].filter(bad),
                "reason": parts["field_0"],
                "column": parts["field_1"],
            })
        )
        self.kept = self.kept.filter(~bad)

    def drop_repeats(self, layout: Layout) -> None:
        """Set aside later copies of equal rows, then rows that contradict each other."""
        key = pl.struct(layout.key)
        again = self.kept.filter(key.is_duplicated())
        if not again.height:
            return
        content = [_comparable(again[name]) for name in again.columns if name != "_row"]
        first = pl.DataFrame(content).select(pl.struct(pl.all()).is_first_distinct().alias("first"))
        self._mark(again.filter(~first["first"])["_row"], "duplicate")
        left = again.filter(first["first"]).filter(key.is_duplicated())
        self._mark(_contradictions(left, layout)["_row"], "conflict")

    def quarantine(self) -> pl.DataFrame:
        """Return what was set aside: table, reason, column, value, source_file, source_row."""
        nothing = pl.DataFrame(schema={"_row": pl.UInt32, "reason": pl.String, "column": pl.String})
        rows = pl.concat([nothing, *self.aside]).sort("_row")
        return rows.select(
            pl.lit(self.table).alias("table"),
            "reason",
            "column",
            self._values(rows).alias("value"),
            self._origin(rows, "source_file").cast(pl.String),
            self._origin(rows, "source_row").cast(pl.Int64),
        )

    def _mark(self, rows: pl.Series, reason: str) -> None:
        hit = self.kept["_row"].is_in(rows.implode())
        self.set_aside(self.kept.select(pl.when(hit).then(pl.lit(f"{reason}|")))["literal"])

    def _values(self, rows: pl.DataFrame) -> pl.Series:
        """Return the first 200 characters of what stood in the column that broke the rule."""
        values = pl.Series([None] * rows.height, dtype=pl.String)
        for name in rows["column"].unique().drop_nulls():
            if name in self.raw.columns:
                found = _shown(self.raw[name].gather(rows["_row"])).str.slice(0, 200)
                values = found.zip_with(rows["column"] == name, values)
        return values

    def _origin(self, rows: pl.DataFrame, name: str) -> pl.Series:
        if name in self.raw.columns:
            return self.raw[name].gather(rows["_row"])
        if name == "source_row":
            return (rows["_row"].cast(pl.Int64) + 1).rename(name)
        return pl.Series(name, [None] * rows.height, dtype=pl.String)


def _read(table: str, raw: pl.Series, column: Column, *, zone: str) -> Reading:
    try:
        return read(raw, column.role, zone)
    except UnreadableError as error:
        raise DataRefusedError(
            f"column '{column.name}' of the {table} is no {column.role} (wrong_type)",
            str(error),
            f"map another column to '{column.name}', or mend the table",
        ) from error


def _marks(reading: Reading, column: Column) -> tuple[tuple[str, pl.Series], ...]:
    """Return what could not be read, as (reason, Bool[n]); a required cell must be there too."""
    if column.role == "time":
        lost = reading.lost
        if column.required:
            lost = reading.values.is_null() & ~reading.off_clock
        return (("not_a_time", lost), ("time_not_on_clock", reading.off_clock))
    if column.role == "number" and column.required:
        return (("not_a_number", reading.values.is_null()),)
    if column.role in {"number", "flag"}:
        return (("not_a_number", reading.lost),)
    return ()


def _in_order(details: list[str]) -> list[pl.Expr]:
    """Turn dataframely's columns and `lost` into marks "reason|column", first reason first.

    A check is called COLUMN|check__REASON there, a rule over columns REASON__COLUMN.
    """
    marks: dict[str, list[pl.Expr]] = {reason: [] for reason in REASONS}
    for reason in CAST_REASONS:
        lost = pl.col("lost").str.starts_with(f"{reason}|")
        marks[reason].append(pl.when(lost).then(pl.col("lost")))
    for name in details:
        column, checked, reason = name.partition("|check__")
        if not checked:
            reason, _, column = name.partition("__")
        broken = pl.col(name) == "invalid"
        marks[reason].append(pl.when(broken).then(pl.lit(f"{reason}|{column}")))
    return [mark for reason in REASONS for mark in marks[reason]]


def _contradictions(again: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Return the rows of each key that must go: all but the one that was ingested last, if any."""
    if "ingested_at" not in again.columns:
        return again
    latest = pl.col("ingested_at").max().over(layout.key)
    is_latest = (pl.col("ingested_at") == latest).fill_null(value=False)
    return again.filter(~(is_latest & (is_latest.sum().over(layout.key) == 1)))


def _comparable(values: pl.Series) -> pl.Series:
    """Turn lists into text, which can be compared row by row."""
    return _shown(values) if values.dtype.is_nested() else values


def _shown(values: pl.Series) -> pl.Series:
    if isinstance(values.dtype, pl.List | pl.Array):
        inner = values.cast(pl.List(pl.String))
        return pl.select(inner.list.join("\x1f", ignore_nulls=True)).to_series()
    return values.cast(pl.String, strict=False)
