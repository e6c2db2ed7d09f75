"""A dataset in, the columns that are encoded out: those of the schema and those all sets have."""

from __future__ import annotations

from typing import assert_never

import polars as pl

from recsys.data.asof import curated_at_opening
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY
from recsys.domain.schema import (
    Bag,
    Categorical,
    FeatureSpec,
    Instant,
    Numeric,
    Text,
    Vector,
)

EVERYONE = "everyone"
"""The field whose one value all members share: what the shop as a whole likes."""
Plain = Categorical | Numeric | Bag | Text | Vector
"""What is left of the kinds once an Instant has become its cycles and gap."""
PRICE_BUCKETS = 32
WEEKDAY, SEASON, HOUR_OF_DAY, GAP = "weekday", "season", "hour", "gap"


def sale_columns(dataset: Dataset) -> tuple[pl.DataFrame, tuple[Plain, ...]]:
    """Return a frame of all sale features, one row a sale, and what they are.

    Beside the schema's: brand, curated at the opening, price, days since the brand's first sale
    opened and, where openings are the shop's own decision, their weekday, season and hour.
    """
    frame = dataset.sales.with_columns(
        pl.Series("curated", curated_at_opening(dataset.shop)),
        _brand_tenure(dataset),
    )
    common: tuple[FeatureSpec, ...] = (
        Categorical(column="brand"),
        Categorical(column="curated"),
        Numeric(column="price", log=True, buckets=PRICE_BUCKETS),
        Numeric(column="brand_tenure", log=True),
    )
    if dataset.task == "shelf":
        common = (*common, Instant(column="opens_at"))
    if "title" in frame.columns:
        common = (*common, Text(column="title"))
    named = {feature.column for feature in dataset.schema.sales}
    features = (*(f for f in common if f.column not in named), *dataset.schema.sales)
    return _plain(frame, features, zone=dataset.zone, since="opens_at")


def member_columns(dataset: Dataset) -> tuple[pl.DataFrame, tuple[Plain, ...]]:
    """Return a frame of all member features, one row a member, and what they are.

    Beside the schema's: one field whose value everyone shares.
    """
    frame = dataset.members.with_columns(pl.lit(EVERYONE).alias(EVERYONE))
    features = (Categorical(column=EVERYONE), *dataset.schema.members)
    return _plain(frame, features, zone=dataset.zone, since=None)


def _brand_tenure(dataset: Dataset) -> pl.Series:
    """Days from the first opening of the brand to this sale's; null without a brand."""
    first = pl.col("opens_at").min().over("brand")
    days = (pl.col("opens_at") - first).dt.total_microseconds() / DAY
    known = pl.when(pl.col("brand").is_not_null()).then(days)
    return dataset.sales.select(known.alias("brand_tenure")).to_series()


def _plain(
    frame: pl.DataFrame, features: tuple[FeatureSpec, ...], *, zone: str, since: str | None
) -> tuple[pl.DataFrame, tuple[Plain, ...]]:
    plain = list[Plain]()
    for feature in features:
        match feature:
            case Instant(column=column):
                frame = frame.with_columns(_cycles(column, zone))
                plain += [
                    Categorical(column=f"{column}.{cycle}")
                    for cycle in (WEEKDAY, SEASON, HOUR_OF_DAY)
                ]
                if since is not None and column != since:
                    frame = frame.with_columns(_gap(column, since))
                    plain.append(Numeric(column=f"{column}.{GAP}", log=True))
            case Categorical() | Numeric() | Bag() | Text() | Vector():
                plain.append(feature)
            case _:
                assert_never(feature)
    return frame, tuple(plain)


def _cycles(column: str, zone: str) -> list[pl.Expr]:
    local = pl.col(column).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(zone)
    return [
        local.dt.weekday().alias(f"{column}.{WEEKDAY}"),
        (local.dt.month() % 12 // 3).alias(f"{column}.{SEASON}"),
        local.dt.hour().alias(f"{column}.{HOUR_OF_DAY}"),
    ]


def _gap(column: str, since: str) -> pl.Expr:
    """Days from `column` to `since`: never an absolute day (MODEL 2.1)."""
    gap = pl.col(since) - pl.col(column).cast(pl.Datetime("us", "UTC"))
    return (gap.dt.total_microseconds() / DAY).alias(f"{column}.{GAP}")
