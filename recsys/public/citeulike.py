"""The cold-start split of CiteULike-a in, Tables out."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from recsys.domain.schema import Bag, Schema
from recsys.domain.tables import Tables
from recsys.public.dated import ZONE, early, midnight
from recsys.public.files import lists, origin, present
from recsys.public.published import CiteULike

PAIRS = ("warm_emb", "warm_val", "cold_item_val", "warm_test", "cold_item_test")
FILES = (*(f"{name}.csv.gz" for name in PAIRS), "item-tag.dat.gz", "citations.dat.gz")
SCHEMA = Schema(sales=(Bag(column="tags"), Bag(column="citations")))


def tables(spec: CiteULike) -> Tables:
    """Read pairs, tags and citations; `spec` says where and holds the protocol.

    Raises:
        SettingError: the files are not there.
    """
    *files, tags, citations = present(Path(spec.root), FILES, data=spec.kind)
    pairs = {name: _pairs(path) for name, path in zip(PAIRS, files, strict=True)}
    train = pairs["warm_emb"]
    validation = pl.concat([pairs["warm_val"], pairs["cold_item_val"]])
    test = _tested(pairs["warm_test"], pairs["cold_item_test"], only_both=spec.only_both)
    parts = enumerate((train, validation, test))
    events = pl.concat(part.with_columns(day=pl.lit(day, dtype=pl.Int64)) for day, part in parts)
    return Tables(
        name=spec.kind,
        zone=ZONE,
        schema=SCHEMA,
        sales=_bag(tags, "tags")
        .join(_bag(citations, "citations"), on="sale")
        .with_columns(*_open(pairs))
        .cast({"sale": pl.String}),
        events=events.select(
            pl.col("member", "sale").cast(pl.String), at=early(pl.col("day")), kind=pl.lit("view")
        ),
        watermark=midnight(3),
        task="endless",
        notes=(
            f"{test.height} test pairs; {origin(files[3])}; {origin(files[4])}",
            f"{train.height} train pairs without times or order",
        ),
    )


def _pairs(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, new_columns=["member", "sale"], schema_overrides=[pl.Int64, pl.Int64])


def _tested(warm: pl.DataFrame, cold: pl.DataFrame, *, only_both: bool) -> pl.DataFrame:
    if not only_both:
        return pl.concat([warm, cold])
    return pl.concat([
        warm.join(cold, on="member", how="semi"),
        cold.join(warm, on="member", how="semi"),
    ])


def _open(pairs: dict[str, pl.DataFrame]) -> tuple[pl.Expr, pl.Expr]:
    """Say from when to when each sale is open: cold ones are new on the day they are asked for."""
    of_validation = pl.col("sale").is_in(pairs["cold_item_val"]["sale"].unique().implode())
    of_test = pl.col("sale").is_in(pairs["cold_item_test"]["sale"].unique().implode())
    day = pl.when(of_validation).then(1).when(of_test).then(2).otherwise(-2)
    start = pl.lit(midnight(0)).dt.cast_time_unit("us")
    closing = pl.when(of_validation).then(start + pl.duration(days=2))
    return (start + pl.duration(days=day)).alias("opens_at"), closing.alias("closes_at")


def _bag(path: Path, column: str) -> pl.DataFrame:
    """Read a line an article: how many numbers follow, then the numbers."""
    return lists(path).select(
        sale=pl.col("line").cast(pl.Int64),
        **{column: pl.col("numbers").list.slice(1).cast(pl.List(pl.String))},
    )
