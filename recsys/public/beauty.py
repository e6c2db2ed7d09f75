"""Amazon Beauty in S3-Rec's order in, Tables out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl

from recsys.domain.schema import Bag, Schema
from recsys.domain.tables import Tables
from recsys.public.dated import ZONE, midnight, one_out
from recsys.public.files import lists, origin, present
from recsys.public.published import Beauty

FILES = ("Beauty.txt.gz", "Beauty_item2attributes.json.gz")
SCHEMA = Schema(sales=(Bag(column="attributes"),))


def tables(spec: Beauty) -> Tables:
    """Read sequences and attributes; `spec` says where and holds the protocol.

    Raises:
        SettingError: the files are not there.
    """
    sequences, attributes = present(Path(spec.root), FILES, data=spec.kind)
    events = one_out(_events(sequences))
    first = events["at"].dt.truncate("1d").min()
    return Tables(
        name=spec.kind,
        zone=ZONE,
        schema=SCHEMA,
        sales=(
            events
            .select(pl.col("sale").unique(maintain_order=True))
            .join(_attributes(attributes), on="sale", how="left", maintain_order="left")
            .with_columns(
                opens_at=pl.lit(first, dtype=pl.Datetime("us", "UTC")).dt.offset_by("-2d")
            )
        ),
        events=events.select("member", "sale", "at", kind=pl.lit("view")),
        watermark=midnight(0),
        task="endless",
        notes=(
            f"{events.height} reviews, the last of each member is the test; {origin(sequences)}",
            "no times in the set: reviews are dated by their order alone",
        ),
    )


def _events(path: Path) -> pl.DataFrame:
    numbers = pl.col("numbers")
    return (
        lists(path)
        .select(member=numbers.list.first(), sale=numbers.list.slice(1))
        .explode("sale")
        .cast(pl.String)
    )


def _attributes(path: Path) -> pl.DataFrame:
    known: dict[str, list[int]] = json.loads(gzip.decompress(path.read_bytes()))
    return pl.DataFrame(
        {"sale": list(known), "attributes": list(known.values())},
        schema={"sale": pl.String, "attributes": pl.List(pl.Int64)},
    ).cast({"attributes": pl.List(pl.String)})
