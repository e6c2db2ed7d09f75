"""Kept rows in, a Dataset out: ids become rows, tables become sorted arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import polars as pl

from recsys.data.cast import TYPES
from recsys.data.features import columns_of
from recsys.data.fingerprint import fingerprint
from recsys.data.rules import CHANNELS, KINDS, LAYOUTS, Column
from recsys.domain.arrays import NONE
from recsys.domain.clock import us_of
from recsys.domain.dataset import Dataset
from recsys.domain.errors import DataRefusedError
from recsys.domain.events import FLAG_LATE, FLAG_MACHINE, Channel, Events
from recsys.domain.schema import Schema
from recsys.domain.source import Source
from recsys.domain.tables import Tables

NEVER = np.iinfo(np.int64).max
PERSONALISE = "consent_personalise"
CONSENTS = (PERSONALISE, "consent_mail")
Kept = Mapping[str, pl.DataFrame]
Notes = tuple[str, ...]


@dataclass(frozen=True)
class _Rows:
    """Which row each outside id became: the id and `row`, i32."""

    members: pl.DataFrame
    sales: pl.DataFrame


def build(kept: Kept, tables: Tables, *, schema: Schema, source: Source) -> tuple[Dataset, Notes]:
    """Return the dataset of the kept rows and what a person should know of its making."""
    for table in ("sales", "events"):
        if not kept[table].height:
            raise DataRefusedError(
                f"no row of the {table} keeps the contract", "see quarantine.parquet for why"
            )
    members, notes = _members(kept, tables, schema)
    sales, more = _sales(kept, schema)
    rows = _Rows(_numbered(members, "member"), _numbered(sales, "sale"))
    events, late = _events(kept["events"], rows, source)
    watermark = tables.watermark
    dataset = Dataset(
        name=tables.name,
        zone=tables.zone,
        schema=schema,
        members=members,
        sales=sales,
        events=events,
        exposures=_exposures(kept.get("exposures"), rows),
        curation=_curation(kept.get("curation"), sales, rows),
        stock=_stock(kept.get("stock"), rows),
        watermark=int(events.at.max()) if watermark is None else us_of(watermark),
        fingerprint="",
        shelf_hours=tables.shelf_hours,
        task=tables.task,
    )
    channels = _other_channels(kept)
    return replace(dataset, fingerprint=fingerprint(dataset)), notes + more + late + channels


def _members(kept: Kept, tables: Tables, schema: Schema) -> tuple[pl.DataFrame, Notes]:
    """Return the members in the order of their table, then those that only events speak of."""
    columns = _columns("members", schema)
    known = kept["members"] if "members" in kept else _empty(columns)
    known = known.select(column.name for column in columns)
    seen = [kept[table].select("member") for table in ("events", "exposures") if table in kept]
    arrived = (
        pl
        .concat(seen)
        .unique(maintain_order=True)
        .join(known, on="member", how="anti", maintain_order="left")
    )
    notes: Notes = ()
    if tables.members is not None and arrived.height:
        notes = (f"{arrived.height:,} members are known by their events alone",)
    members = pl.concat([known, arrived], how="diagonal")
    for consent in CONSENTS:
        asked = tables.members is not None and consent in tables.members.columns
        withheld = members[consent].null_count() if asked else 0
        if withheld:
            notes += (f"{withheld:,} members without a word on {consent}: taken as no",)
        if consent == PERSONALISE and not asked:
            notes += (f"no column {consent}: all {members.height:,} members are taken to consent",)
        members = members.with_columns(pl.col(consent).fill_null(not asked))
    return members, notes


def _sales(kept: Kept, schema: Schema) -> tuple[pl.DataFrame, Notes]:
    """Return the sales by opening and id; where none is given, the first event opens a sale."""
    events = kept["events"]
    first = events.group_by("sale").agg(pl.col("at").min().alias("first_at"))
    met = kept["sales"].join(first, on="sale", how="left")
    unseen = met.filter(pl.col("opens_at").is_null() & pl.col("first_at").is_null()).height
    notes: Notes = ()
    if unseen:
        notes = (f"{unseen:,} sales without opening and events: they open with the last event",)
    opened = met.with_columns(
        pl.coalesce("opens_at", "first_at", pl.lit(events["at"].max())).alias("opens_at")
    )
    sales = opened.with_columns(_picked(kept, opened).alias("curated")).sort("opens_at", "sale")
    return sales.select(column.name for column in _columns("sales", schema)), notes


def _picked(kept: Kept, sales: pl.DataFrame) -> pl.Series:
    """Say which sales an editor recommends as they open, Bool[n]."""
    if "curation" not in kept:
        return sales["curated"].fill_null(value=False)
    met = sales.select("sale", "opens_at").join(kept["curation"], on="sale")
    ended = (pl.col("until_at") <= pl.col("opens_at")).fill_null(value=False)
    at_opening = met.filter((pl.col("from_at") <= pl.col("opens_at")) & ~ended)
    return sales["sale"].is_in(at_opening["sale"].implode())


def _events(events: pl.DataFrame, rows: _Rows, source: Source) -> tuple[Events, Notes]:
    late = pl.col("ingested_at") - pl.col("at") > timedelta(hours=source.late_hours)
    coded = _in_rows(events, rows).select(
        "member",
        "sale",
        pl.col("at").dt.timestamp("us"),
        pl.col("kind").replace_strict(list(KINDS), range(len(KINDS)), return_dtype=pl.UInt8),
        _channel(),
        flags=_bit(pl.col("is_machine"), FLAG_MACHINE) | _bit(late, FLAG_LATE),
        value=(pl.col("value").fill_null(0.0) * pl.col("quantity").fill_null(1.0)).cast(pl.Float32),
    )
    coded = coded.sort("member", "at", "sale", "kind", "channel", "flags", "value")
    per_member = np.bincount(coded["member"].to_numpy(), minlength=rows.members.height)
    num_late = coded.filter(pl.col("flags") & FLAG_LATE > 0).height
    made = Events(
        sale=coded["sale"].to_numpy(),
        at=coded["at"].to_numpy(),
        kind=coded["kind"].to_numpy(),
        channel=coded["channel"].to_numpy(),
        flags=coded["flags"].to_numpy(),
        value=coded["value"].to_numpy(),
        member_ptr=np.concatenate(([0], np.cumsum(per_member, dtype=np.int64))),
    )
    note = f"{num_late:,} events arrived over {source.late_hours:g} hours late: kept and flagged"
    return made, (note,) if num_late else ()


def _exposures(exposures: pl.DataFrame | None, rows: _Rows) -> pl.DataFrame:
    frame = _empty(LAYOUTS["exposures"].columns) if exposures is None else exposures
    shown = _in_rows(frame, rows).select(
        "member",
        "sale",
        pl.col("at").dt.timestamp("us"),
        "send",
        pl.col("slot").cast(pl.Int16),
        _channel(),
        "propensity",
    )
    return shown.sort("member", "at", "send", "slot")


def _curation(curation: pl.DataFrame | None, sales: pl.DataFrame, rows: _Rows) -> pl.DataFrame:
    if curation is None:
        curated = sales.filter("curated")
        curation = curated.select("sale", from_at="opens_at", until_at="closes_at")
    until = pl.col("until_at").dt.timestamp("us").fill_null(NEVER)
    picked = _in_rows(curation, rows).select("sale", pl.col("from_at").dt.timestamp("us"), until)
    return picked.sort("from_at", "sale", "until_at")


def _stock(stock: pl.DataFrame | None, rows: _Rows) -> pl.DataFrame:
    frame = _empty(LAYOUTS["stock"].columns) if stock is None else stock
    at, left = pl.col("at").dt.timestamp("us"), pl.col("left").cast(pl.Int64)
    return _in_rows(frame, rows).select("sale", at, left).sort("at", "sale")


def _in_rows(frame: pl.DataFrame, rows: _Rows) -> pl.DataFrame:
    """Put rows in the place of ids; a sale that is not there becomes NONE."""
    for name, numbers in (("member", rows.members), ("sale", rows.sales)):
        if name in frame.columns:
            met = frame.join(numbers, on=name, how="left", maintain_order="left")
            frame = met.with_columns(pl.col("row").fill_null(NONE).alias(name)).drop("row")
    return frame


def _numbered(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    return frame.select(name, row=pl.int_range(pl.len(), dtype=pl.Int32))


def _channel() -> pl.Expr:
    """Code the channel; without a word on it, or with one we do not know, it is OTHER."""
    codes = pl.col("channel").replace_strict(
        list(CHANNELS), range(len(CHANNELS)), default=Channel.OTHER.value, return_dtype=pl.UInt8
    )
    return codes.fill_null(Channel.OTHER.value)


def _other_channels(kept: Kept) -> Notes:
    """Count the channels that are read as OTHER because the vocabulary lacks them."""
    named = [kept[name]["channel"].drop_nulls() for name in ("events", "exposures") if name in kept]
    foreign = pl.concat(named).value_counts(sort=True).filter(~pl.col("channel").is_in(CHANNELS))
    if not foreign.height:
        return ()
    words = ", ".join(repr(word) for word in foreign["channel"].head(3))
    return (f"{foreign['count'].sum():,} rows on other channels, read as 'other': {words}",)


def _bit(condition: pl.Expr, flag: int) -> pl.Expr:
    return condition.fill_null(value=False).cast(pl.UInt8) * pl.lit(flag, pl.UInt8)


def _columns(table: str, schema: Schema) -> tuple[Column, ...]:
    """Return the fixed columns of a table, then its features."""
    fixed = {column.name: column for column in LAYOUTS[table].columns}
    features = {column.name: column for column in columns_of(schema, table)}
    return tuple((fixed | features | fixed).values())


def _empty(columns: tuple[Column, ...]) -> pl.DataFrame:
    return pl.DataFrame(schema={column.name: TYPES[column.role] for column in columns})
