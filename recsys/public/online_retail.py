"""Invoice lines of the Online Retail set in, Tables out."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl

from recsys.domain.schema import Categorical, Schema, Text
from recsys.domain.tables import Tables
from recsys.public.files import present
from recsys.public.spec import OnlineRetail

ZONE = "Europe/London"
FILES = ("online_retail.parquet",)
SCHEMA = Schema(members=(Categorical(column="country"),), sales=(Text(column="title"),))
UNUSED = {
    "cancellations or returns": pl.col("InvoiceNo").str.starts_with("C")
    | (pl.col("Quantity") <= 0),
    "lines without customer": pl.col("CustomerID").is_null(),
    "lines at no price": pl.col("UnitPrice") <= 0,
}
"""What the set's protocol leaves out; a line counts under the first that holds."""


def tables(spec: OnlineRetail) -> Tables:
    """Read the invoice lines of the protocol; `spec` says where and holds the protocol.

    Raises:
        SettingError: the file is not there.
    """
    (path,) = present(Path(spec.root), FILES, data=spec.kind)
    lines, notes = _kept(pl.read_parquet(path))
    events = lines.group_by("InvoiceNo", "member", "sale", maintain_order=True).agg(
        pl.col("at").min(), (pl.col("Quantity") * pl.col("UnitPrice")).sum().alias("value")
    )
    return Tables(
        name=spec.kind,
        zone=ZONE,
        schema=SCHEMA,
        members=lines.group_by("member", maintain_order=True).agg(
            pl.col("Country").first().alias("country")
        ),
        sales=lines.group_by("sale", maintain_order=True).agg(
            pl.col("at").min().alias("opens_at"),
            pl.col("UnitPrice").first().alias("price"),
            pl.col("Description").drop_nulls().first().alias("title"),
        ),
        events=events.select(
            "member", "sale", "at", "value", kind=pl.lit("purchase"), channel=pl.lit("web")
        ),
        watermark=_end_of_last_day(lines),
        task="endless",
        shelf_hours=spec.shelf_hours,
        notes=notes,
    )


def _kept(lines: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    notes = [f"{lines.height} invoice lines"]
    for reason, unused in UNUSED.items():
        kept = lines.filter(~unused)
        notes.append(f"{lines.height - kept.height} {reason} left out, as the protocol says")
        lines = kept
    local = pl.col("InvoiceDate").dt.replace_time_zone(
        ZONE, ambiguous="earliest", non_existent="null"
    )
    kept = lines.with_columns(
        member=pl.col("CustomerID").cast(pl.String),
        sale=pl.col("StockCode"),
        at=local.dt.convert_time_zone("UTC"),
    )
    return kept.sort("at", "InvoiceNo", maintain_order=True), tuple(notes)


def _end_of_last_day(lines: pl.DataFrame) -> datetime:
    last = pl.col("at").max().dt.convert_time_zone(ZONE)
    end = last.dt.truncate("1d").dt.offset_by("1d").dt.convert_time_zone("UTC")
    watermark: datetime = lines.select(end).item()
    return watermark
