"""Globo's news clicks in, Tables out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from recsys.domain.schema import Categorical, Schema, Vector
from recsys.domain.tables import Tables
from recsys.public.files import present
from recsys.public.spec import Globo

ZONE = "Etc/GMT+3"
"""UTC-3, as the set's days are cut; the name's sign is the tz database's own."""
FILES = ("clicks_2017-10-01_10.parquet", "acr_embeddings_4097.npz")
CATEGORY_IDS = 500
"""Ids are sorted by category: this many neighbours count as one."""
CHANNELS = {2: "app", 4: "web"}
"""click_environment -> channel; the rest (articles inside another site) is "other"."""
SCHEMA = Schema(
    sales=(Categorical(column="category"), Vector(column="content", dim=128)),
    category="category",
)


def tables(spec: Globo) -> Tables:
    """Read clicks and content vectors; `spec` says where and holds the protocol.

    Raises:
        SettingError: the files are not there.
    """
    clicks_path, vectors_path = present(Path(spec.root), FILES, data=spec.kind)
    clicks = pl.read_parquet(
        clicks_path,
        columns=["user_id", "click_article_id", "click_timestamp", "click_environment"],
    )
    at = pl.col("click_timestamp").cast(pl.Datetime("ms", "UTC")).dt.cast_time_unit("us")
    events = clicks.select(
        member=pl.col("user_id").cast(pl.String),
        sale=pl.col("click_article_id").cast(pl.String),
        at=at,
        kind=pl.lit("view"),
        channel=pl.col("click_environment").replace_strict(
            CHANNELS, default="other", return_dtype=pl.String
        ),
    )
    articles = (
        clicks
        .group_by("click_article_id")
        .agg(at.min().alias("opens_at"))
        .join(_vectors(vectors_path), on="click_article_id", how="left")
    )
    with_vector = articles["content"].len() - articles["content"].null_count()
    return Tables(
        name=spec.kind,
        zone=ZONE,
        schema=SCHEMA,
        sales=articles.select(
            "opens_at",
            "content",
            sale=pl.col("click_article_id").cast(pl.String),
            category=(pl.col("click_article_id") // CATEGORY_IDS).cast(pl.String),
        ),
        events=events,
        # the hour of the last click is the last whose outcomes are all known
        watermark=events.select(pl.col("at").max().dt.truncate("1h").dt.offset_by("1h")).item(),
        shelf_hours=spec.shelf_hours,
        notes=(
            "an article opens at its first click; those of the first hours are older than that",
            f"{with_vector} of {articles.height} articles have a content vector",
        ),
    )


def _vectors(path: Path) -> pl.DataFrame:
    with np.load(path, allow_pickle=False) as stored:
        ids, vectors = stored["article_id"], stored["emb"]
    return pl.DataFrame({
        "click_article_id": pl.Series(ids, dtype=pl.Int32),
        "content": pl.Series(vectors.astype(np.float32)).cast(pl.List(pl.Float32)),
    })
