"""A folder in, a look at each table in it out: names, types and first values of its columns."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cached_property
from glob import glob
from pathlib import Path

import polars as pl

from recsys.data.files import is_parquet, is_table, scan, unreadable
from recsys.data.shapes import SAMPLE, is_number, is_time, sample
from recsys.data.words import COLUMN_WORDS, fit
from recsys.domain.errors import DataRefusedError

FORMATS = tuple(
    f"{date}{clock}"
    for date in ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y/%m/%d", "%d/%m/%y", "%m/%d/%y")
    for clock in (" %H:%M", " %H:%M:%S", "")
)
"""Ways to write a time that people use besides ISO 8601."""
INSTANTS = tuple(
    word
    for name in ("at", "opens_at", "closes_at", "joined_at", "ingested_at")
    for word in COLUMN_WORDS[name]
)


@dataclass(frozen=True)
class Look:
    """One table of the folder, its first rows, and its columns in full when asked."""

    path: str
    """A file, or a glob over files with the same columns."""
    files: list[str]
    delimiter: str
    head: pl.DataFrame
    """The first rows; all columns of a CSV file are text."""

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return self.head.columns

    def column(self, name: str) -> pl.Series:
        """Read one column in full, ids as text."""
        return scan(self.files, self.delimiter).select(pl.col(name)).collect()[name]

    @cached_property
    def times(self) -> dict[str, str | None]:
        """Columns that are instants -> how they are written (None = ISO 8601, or since 1970)."""
        # the first rows of a log span few days: only all rows tell day and month apart
        formats = {
            name: time_format(self.column(name))
            for name in self.names
            if time_format(self.head[name]) is not None
        }
        iso = {
            name: None
            for name in self.names
            if is_time(self.head[name]) or is_epoch(self.head[name])
        }
        return iso | {name: form for name, form in formats.items() if form and name not in iso}

    @cached_property
    def numbers(self) -> list[str]:
        """Columns that measure something."""
        return [name for name in self.names if is_number(self.head[name])]

    @cached_property
    def keys(self) -> list[str]:
        """Columns whose values are all there and all different."""
        plain = [
            name
            for name in self.names
            if not self.head[name].dtype.is_nested()
            and not self.head[name].dtype.is_float()
            and name not in self.times
            and self.head[name].null_count() == 0
            and self.head[name].n_unique() == self.head.height
        ]
        return [name for name in plain if not self.column(name).is_duplicated().any()]


def looks(folder: Path) -> list[Look]:
    """Look at the tables of a folder; files of one ending with the same columns are one table.

    Raises:
        DataRefusedError: There is none, or one that cannot be read.
    """
    files = sorted(str(file) for file in folder.rglob("*") if is_table(file.name))
    if not files:
        raise DataRefusedError(
            f"{folder} holds no table",
            "parquet and CSV files are read: .parquet .csv .csv.gz .tsv",
            "name another folder: recsys init path=FOLDER",
        )
    groups: dict[tuple[object, ...], list[str]] = {}
    for file in files:
        delimiter = delimiter_of(file)
        try:
            names = scan([file], delimiter).collect_schema().names()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable("a table", [file], delimiter) from error
        groups.setdefault((Path(file).parent, is_parquet(file), delimiter, *names), []).append(file)
    return [_look(group) for files in groups.values() for group in _as_globs(files)]


def delimiter_of(file: str) -> str:
    """Return the sign that parts most columns of a CSV file's first line."""
    if is_parquet(file):
        return ","
    with Path(file).open("rb") as plain:
        packed = file.lower().endswith(".gz")
        line = (gzip.GzipFile(fileobj=plain) if packed else plain).readline(1 << 16)
    return max(",;\t|", key=lambda sign: line.count(sign.encode()))


def time_format(*columns: pl.Series) -> str | None:
    """Return the first way of writing times that reads every value, if it is not ISO 8601."""
    known = [values.drop_nulls() for values in columns]
    if any(values.dtype != pl.String or not values.len() for values in known):
        return None
    if not all(values.str.contains(r"^\d{1,4}[/.-]\d{1,2}[/.-]\d{1,4}").all() for values in known):
        return None
    return next((form for form in FORMATS if all(_reads(form, values) for values in known)), None)


def _reads(form: str, values: pl.Series) -> bool:
    return not values.str.strptime(pl.Datetime("us"), form, strict=False).null_count()


def is_epoch(values: pl.Series) -> bool:
    """Say whether whole numbers are instants, by the name of the column and their size."""
    known = sample(values)
    if known.dtype == pl.String:
        known = known.cast(pl.Int64, strict=False)
    if not known.dtype.is_integer() or not known.len() or known.null_count():
        return False
    # narrow columns do not hold the bounds below
    known = known.cast(pl.Int64, strict=False)
    if fit(values.name, INSTANTS):
        return bool((known > 900_000_000).all())
    is_id = any(fit(values.name, COLUMN_WORDS[our]) for our in ("member", "sale"))
    # milliseconds of our time, which few other numbers are
    return not is_id and bool(known.is_between(946_684_800_000, 2_200_000_000_000).all())


def _as_globs(files: list[str]) -> list[list[str]]:
    """Keep files together where a glob names exactly them."""
    if len(files) == 1 or sorted(glob(_glob(files))) == files:  # ruff: ignore[glob] - any path
        return [files]
    return [[file] for file in files]


def _glob(files: list[str]) -> str:
    first, last = min(files), max(files)
    same = next(i for i, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1])
    return f"{first[:same]}*{''.join(Path(first).suffixes)}"


def _look(files: list[str]) -> Look:
    delimiter = delimiter_of(files[0])
    try:
        head = scan(files, delimiter).drop("source_file").head(SAMPLE).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable("a table", files, delimiter) from error
    path = files[0] if len(files) == 1 else _glob(files)
    return Look(path=path, files=files, delimiter=delimiter, head=head)
