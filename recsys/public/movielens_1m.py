"""MovieLens-1M in SASRec's order in, Tables out."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from recsys.domain.schema import Bag, Categorical, Schema, Text
from recsys.domain.tables import Tables
from recsys.public.dated import ZONE, midnight, one_out
from recsys.public.files import origin, present
from recsys.public.published import Movielens1M

FILES = (
    "ml-1m_sasrec.txt.gz",
    "movies.dat",
    "users.dat",
    "sas_to_original_items.txt",
    "sas_to_original_users.txt",
)
SCHEMA = Schema(
    members=(
        Categorical(column="age"),
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


def tables(spec: Movielens1M) -> Tables:
    """Read sequences, films and members; `spec` says where and holds the protocol.

    Raises:
        SettingError: the files are not there.
    """
    paths = present(Path(spec.root), FILES, data=spec.kind)
    sequences, films, users, film_ids, user_ids = paths
    events = one_out(_numbers(sequences, "member", "sale"))
    first = events["at"].dt.truncate("1d").min()
    return Tables(
        name=spec.kind,
        zone=ZONE,
        schema=SCHEMA,
        members=_members(users, user_ids),
        sales=_films(films, film_ids).with_columns(
            opens_at=pl.lit(first, dtype=pl.Datetime("us", "UTC")).dt.offset_by("-2d")
        ),
        events=events.select("member", "sale", "at", kind=pl.lit("view")),
        watermark=midnight(0),
        task="endless",
        notes=(
            f"{events.height} ratings, the last of each member is the test; {origin(sequences)}",
            "no times in the set: ratings are dated by their order alone",
        ),
    )


def _numbers(path: Path, *columns: str) -> pl.DataFrame:
    """Read lines of values parted by a space, as text."""
    return pl.read_csv(
        path, separator=" ", has_header=False, new_columns=columns, infer_schema=False
    )


def _fields(path: Path, *columns: str) -> pl.DataFrame:
    """Read lines of Latin-1 text whose values are parted by two colons."""
    lines = pl.DataFrame({"line": path.read_bytes().decode("latin-1").splitlines()})
    parts = pl.col("line").str.split_exact("::", len(columns) - 1).struct.rename_fields(columns)
    return lines.select(parts.alias("parts")).unnest("parts")


def _members(users: Path, ids: Path) -> pl.DataFrame:
    known = _fields(users, "user", "gender", "age", "occupation", "zip")
    return (
        _numbers(ids, "member", "user")
        .join(known, on="user", how="left", maintain_order="left")
        .select("member", "gender", "age", "occupation")
    )


def _films(films: Path, ids: Path) -> pl.DataFrame:
    known = _fields(films, "film", "title", "genres")
    genres = pl.col("genres").str.split("|")
    return (
        _numbers(ids, "sale", "film")
        .join(known, on="film", how="left", maintain_order="left")
        .select(
            "sale",
            "title",
            genre=genres.list.first(),
            genres=genres,
            decade=pl.col("title").str.extract(r"\((\d{3})\d\)$") + "0s",
        )
    )
