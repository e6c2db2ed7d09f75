"""Impressions and clicks of EB-NeRD in, Tables out."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl

from recsys.domain.schema import Categorical, Schema
from recsys.domain.tables import Tables
from recsys.public.files import origin, present
from recsys.public.published import Ebnerd

ZONE = "UTC"
"""The files do not say on which clock their times were written; nothing here asks for the hour."""
FILES = ("train_behaviors.parquet", "train_history.parquet")
ABOUT = ("gender", "age", "postcode", "is_subscriber")
READ = ("impression_id", "impression_time", "user_id", "article_ids_inview", "article_ids_clicked")
SCHEMA = Schema(members=tuple(Categorical(column=name) for name in ABOUT))


def tables(spec: Ebnerd) -> Tables:
    """Read views and clicks; `spec` says where and holds the protocol.

    Raises:
        SettingError: the files are not there.
    """
    behaviors, history = present(Path(spec.root), FILES, data=spec.kind)
    views = _apart(pl.read_parquet(behaviors, columns=[*READ, *ABOUT]))
    shown = _exposures(views)
    clicks = _clicks(views)
    earlier = _earlier(history)
    events = pl.concat([earlier, clicks])
    seen = pl.concat([events, shown.select("member", "sale", "at")])
    watermark: datetime = views.select(
        pl.col("at").max().dt.truncate("1h").dt.offset_by("1h")
    ).item()
    return Tables(
        name=spec.kind,
        zone=ZONE,
        schema=SCHEMA,
        members=views.group_by("member", maintain_order=True).agg(
            pl.col(name).drop_nulls().first().cast(pl.String) for name in ABOUT
        ),
        sales=seen.group_by("sale").agg(pl.col("at").min().alias("opens_at")),
        events=events.with_columns(kind=pl.lit("view")),
        exposures=shown.with_columns(channel=pl.lit("web")),
        watermark=watermark,
        task="endless",
        notes=(
            f"{views.height} impressions, {clicks.height} clicks on them; {origin(behaviors)}",
            f"{earlier.height} clicks of the days before",
            "an article opens when it is first seen; ids and times are all that is known of it",
        ),
    )


def _apart(views: pl.DataFrame) -> pl.DataFrame:
    """Date a member's impressions of one second a second apart: each has outcomes of its own."""
    later = pl.duration(seconds=pl.int_range(pl.len()).over("user_id", "impression_time"))
    return views.sort("impression_time", "impression_id").with_columns(
        member=pl.col("user_id").cast(pl.String),
        at=pl.col("impression_time").dt.replace_time_zone("UTC") + later,
    )


def _exposures(views: pl.DataFrame) -> pl.DataFrame:
    """Turn articles in view into rows; their order in the list is no place on the page."""
    slots = pl.int_ranges(pl.col("article_ids_inview").list.len())
    return views.select(
        "member",
        "at",
        send=pl.col("impression_id").cast(pl.String),
        sale=pl.col("article_ids_inview").cast(pl.List(pl.String)),
        slot=slots,
    ).explode("sale", "slot")


def _clicks(views: pl.DataFrame) -> pl.DataFrame:
    clicked = pl.col("article_ids_clicked").cast(pl.List(pl.String))
    return views.select("member", "at", sale=clicked).explode("sale").select("member", "sale", "at")


def _earlier(path: Path) -> pl.DataFrame:
    lists = pl.read_parquet(path, columns=["user_id", "article_id_fixed", "impression_time_fixed"])
    clicks = lists.explode("article_id_fixed", "impression_time_fixed").drop_nulls()
    return clicks.select(
        member=pl.col("user_id").cast(pl.String),
        sale=pl.col("article_id_fixed").cast(pl.String),
        at=pl.col("impression_time_fixed").dt.replace_time_zone("UTC"),
    )
