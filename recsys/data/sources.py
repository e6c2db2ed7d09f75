"""A person's own files in, raw tables in our column names out."""

from __future__ import annotations

import difflib

import polars as pl

from recsys.data.files import find, numbered, scan, unreadable
from recsys.data.rules import LAYOUTS
from recsys.data.shapes import feature_of
from recsys.data.sieve import ORIGIN
from recsys.data.spec import EventTable, Table, TablesSource
from recsys.domain.errors import DataRefusedError, SettingError
from recsys.domain.schema import Bag, FeatureSpec, Schema, Text
from recsys.domain.tables import Tables

DESCRIBED = ("members", "sales")
"""Tables whose further columns are features."""
NAIVE_DAY = r"^\s*\d{4}-\d\d-\d\d\s*$"
NAIVE_TIME = r"^\s*\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?\s*$"


def read(source: TablesSource) -> Tables:
    """Return the tables as they are, renamed; the contract reads and judges their values.

    Raises:
        DataRefusedError: A file is not there, cannot be read, or lacks a column that is mapped.
    """
    frames: dict[str, pl.DataFrame] = {}
    notes: tuple[str, ...] = ()
    for table in LAYOUTS:
        spec: Table | None = getattr(source, table)
        if spec is not None:
            frames[table], more = _table(table, spec, source)
            notes += more
    if "sales" not in frames:
        frames["sales"] = _sales_of(frames["events"])
    members, frames = _features("members", frames, source.members)
    sales, frames = _features("sales", frames, source.sales)
    category = source.category
    if category is None and "category" in frames["sales"].columns:
        category = "category"
    opening = "opens_at" in frames["sales"].columns
    return Tables(
        name=source.name,
        zone=source.zone,
        schema=Schema(members=members, sales=sales, category=category),
        sales=frames["sales"],
        events=frames["events"],
        members=frames.get("members"),
        exposures=frames.get("exposures"),
        curation=frames.get("curation"),
        stock=frames.get("stock"),
        identities=frames.get("identities"),
        task=source.task or ("shelf" if opening else "endless"),
        shelf_hours=source.shelf_hours,
        notes=notes,
    )


def _table(table: str, spec: Table, source: TablesSource) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return one table under our names, and what was done to it."""
    files = find(table, spec.path)
    try:
        frame = _renamed(table, scan(files, spec.delimiter), spec)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(table, files, spec.delimiter) from error
    times = [c.name for c in LAYOUTS[table].columns if c.role == "time" and c.name in frame.columns]
    frame = numbered(frame).with_columns(
        _clock(frame[name], spec.time_format, utc=source.times == "utc") for name in times
    )
    if isinstance(spec, EventTable):
        return _events(frame, spec)
    if not spec.distinct:
        return frame, ()
    key = list(LAYOUTS[table].key)
    # a row of a log without the id says nothing of this table; the log's own check counts it
    first = (
        frame.drop_nulls(key).group_by(key, maintain_order=True).agg(pl.all().drop_nulls().first())
    )
    return first, (f"{first.height:,} {table} out of {frame.height:,} rows, the first of each id",)


def _renamed(table: str, lazy: pl.LazyFrame, spec: Table) -> pl.DataFrame:
    """Read the columns that are mapped, called as ours are, or features; the others stay away."""
    has = [name for name in lazy.collect_schema().names() if name not in ORIGIN]
    ours = [column.name for column in LAYOUTS[table].columns]
    named = [feature.column for feature in spec.features]
    for our, their in spec.columns.items():
        if table not in DESCRIBED and our not in ours:
            raise SettingError(
                f"data.{table}.columns maps '{our}', which is no column of {table}",
                f"{table} can have: {', '.join(ours)}{_meant(our, ours)}",
            )
        if their not in has:
            raise DataRefusedError(
                f"{table} have no column '{their}' ({spec.path})",
                f"it has: {', '.join(has)}{_meant(their, has)}",
                f"map yours in the data config: data.{table}.columns.{our}=YOURS",
                "or let me write it: recsys init path=FOLDER",
            )
    taken = {*spec.columns.values(), *spec.columns, *spec.ignore}
    free = [name for name in has if name not in taken]
    if table not in DESCRIBED or spec.distinct:
        free = [name for name in free if name in {*ours, *named}]
    columns = [pl.col(their).alias(our) for our, their in spec.columns.items()]
    return lazy.select(*columns, *free, "source_file").collect()


def _meant(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"        did you mean '{near[0]}'?" if near else ""


def _clock(values: pl.Series, time_format: str | None, *, utc: bool) -> pl.Series:
    """Write times as ISO 8601; what does not read as one stays as it is, for the contract."""
    if time_format is not None and values.dtype == pl.String:
        read_at = values.str.strptime(pl.Datetime("us"), time_format, strict=False)
        values = read_at.dt.to_string("iso").zip_with(read_at.is_not_null(), values)
    if not utc:
        return values
    if values.dtype == pl.String:
        midnight = (values + " 00:00Z").zip_with(values.str.contains(NAIVE_DAY), values)
        return (values + "Z").zip_with(values.str.contains(NAIVE_TIME), midnight)
    if values.dtype == pl.Date:
        values = values.cast(pl.Datetime("us"))
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is None:
        return values.dt.replace_time_zone("UTC")
    return values


def _events(frame: pl.DataFrame, spec: EventTable) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Translate the kinds of events, and add up the lines of orders."""
    if "kind" not in frame.columns:
        if spec.kind is None:
            raise DataRefusedError(
                f"events have no column 'kind' ({spec.path})",
                "map the one that says what a member did: data.events.columns.kind=YOURS",
                "or say what every row is: data.events.kind=purchase",
            )
        frame = frame.with_columns(pl.lit(spec.kind).alias("kind"))
    if spec.kinds:
        said = pl.col("kind").cast(pl.String)
        frame = frame.with_columns(said.replace(list(spec.kinds), list(spec.kinds.values())))
    if not spec.lines:
        return frame, ()
    added = _added_up(frame)
    return added, (f"{added.height:,} events out of {frame.height:,} lines of orders",)


def _added_up(frame: pl.DataFrame) -> pl.DataFrame:
    """Add up the values of sound lines of one event; other lines stay, for the contract.

    A line without a value adds nothing, one without a quantity is of one piece; an event none of
    whose lines has a value has none.
    """
    amounts = [name for name in ("value", "quantity") if name in frame.columns]
    number = {name: pl.col(name).cast(pl.Float64, strict=False) for name in amounts}
    sound = pl.all_horizontal(
        pl.col("member").is_not_null(),
        *(
            pl.col(name).is_null() | (each.is_finite() & (each >= 0)).fill_null(value=False)
            for name, each in number.items()
        ),
    )
    spent = number["value"] if "value" in number else pl.lit(0.0)
    if "quantity" in number:
        spent = spent * number["quantity"].fill_null(1.0)
    key = [name for name in (*LAYOUTS["events"].key, "id_source") if name in frame.columns]
    fine = frame.filter(sound)
    kept = [name for name in frame.columns if name not in {*key, *amounts}]
    some = pl.when(spent.is_not_null().any()).then(spent.sum())
    events = fine.group_by(key, maintain_order=True).agg(
        *(pl.col(name).first() for name in kept), some.alias("value")
    )
    return pl.concat([events, frame.filter(~sound)], how="diagonal_relaxed")


def _sales_of(events: pl.DataFrame) -> pl.DataFrame:
    """Return the sales that events speak of, each with the row of its first event."""
    there = pl.col("sale").cast(pl.String).str.strip_chars().str.len_bytes() > 0
    return events.filter(there).select("sale", *ORIGIN).unique("sale", maintain_order=True)


def _features(
    table: str, frames: dict[str, pl.DataFrame], spec: Table | None
) -> tuple[tuple[FeatureSpec, ...], dict[str, pl.DataFrame]]:
    """Return the features of a table, those that are named first, and bags out of their text."""
    if spec is None or table not in frames:
        return (), frames
    frame = frames[table]
    ours = {*ORIGIN, *(column.name for column in LAYOUTS[table].columns)}
    named = {feature.column: feature for feature in spec.features}
    guessed = {name: feature_of(frame[name]) for name in frame.columns if name not in ours}
    if "title" in frame.columns:
        guessed["title"] = Text(column="title")
    bags = [
        pl.col(feature.column).str.split(spec.list_delimiter)
        for feature in named.values()
        if isinstance(feature, Bag) and frame.schema.get(feature.column) == pl.String
    ]
    features = {**named, **{name: guessed[name] for name in guessed if name not in named}}
    return tuple(features.values()), {**frames, table: frame.with_columns(bags)}
