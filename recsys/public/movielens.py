"""MovieLens-100K in, Tables out."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from recsys.domain.schema import Bag, Categorical, Numeric, Schema, Text
from recsys.domain.tables import Tables
from recsys.public.files import present
from recsys.public.spec import Movielens

FILES = ("ml-100k.inter.gz", "ml-100k.item.gz", "ml-100k.user.gz")
LATER_WEEKS = 313
"""The contract takes no event before 2000; six years on, weekdays and seasons are the same."""
SCHEMA = Schema(
    members=(
        Numeric(column="age", buckets=8),
        Categorical(column="gender"),
        Categorical(column="occupation"),
    ),
    sales=(
        Categorical(column="genre"),
        Bag(column="genres"),
        Categorical(column="decade"),
        Text(column="title", ngrams=False),
    ),
    category="genre",
)


def tables(spec: Movielens) -> Tables:
    """Read ratings, films and members; `spec` says where and holds the protocol.

    Raises:
        SettingError: the files are not there.
    """
    ratings, films, members = map(_read, present(Path(spec.root), FILES, data=spec.kind))
    seconds = pl.col("timestamp").cast(pl.Float64).cast(pl.Int64)
    rated_at = (seconds * 1_000_000).cast(pl.Datetime("us", "UTC"))
    events = ratings.select(
        member="user_id",
        sale="item_id",
        at=rated_at.dt.offset_by(f"{LATER_WEEKS}w"),
        kind=pl.lit("view"),
    )
    # when a film came out says nothing here: all are on offer before the first rating
    opens_at = events.select(pl.col("at").min().dt.truncate("1d").dt.offset_by("-2d")).item()
    genres = pl.col("class").str.split(" ")
    return Tables(
        name=spec.kind,
        zone="UTC",
        schema=SCHEMA,
        members=members.select(
            "gender",
            "occupation",
            member="user_id",
            age=pl.col("age").cast(pl.Float64, strict=False),
        ),
        sales=films.select(
            sale="item_id",
            opens_at=pl.lit(opens_at, dtype=pl.Datetime("us", "UTC")),
            title="movie_title",
            genre=genres.list.first(),
            genres=genres,
            decade=pl.col("release_year").str.extract(r"^(\d{3})\d") + "0s",
        ),
        events=events,
        task="endless",
        notes=(
            "every rating is one view of a film, whatever its stars",
            f"ratings of 1997 and 1998 are dated {LATER_WEEKS} weeks later",
        ),
    )


def _read(path: Path) -> pl.DataFrame:
    """Read a tab-separated file whose header names columns as name:type; all values as text."""
    frame = pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False)
    return frame.rename(lambda column: column.split(":")[0])
