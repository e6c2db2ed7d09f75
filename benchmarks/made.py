"""A random shop of any size that never closes, for benchmarks that read no file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from recsys.data.spec import EventTable, TablesSource
from recsys.domain.events import DAY
from recsys.domain.schema import Categorical, Schema
from recsys.domain.tables import Tables

DAYS, BASKET, TASTES, FAITH = 90, 5, 40, 0.7
"""Days told of, purchases at one time, tastes there are, how many purchases follow one's own."""
SOURCE = TablesSource(
    name="made",
    zone="UTC",
    events=EventTable(path="(made)"),
    cadence="engagement",
    outcome_hours=72.0,
)


@dataclass(frozen=True)
class Size:
    """How large a shop is."""

    members: int
    sales: int
    events: int
    """Purchases, in baskets of five, dealt evenly to the members."""


def shop(size: Size, *, seed: int = 1) -> Tables:
    """Return members who mostly buy what is popular within their taste."""
    rng = np.random.default_rng(seed)
    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    baskets = size.events // BASKET
    buyer = np.arange(baskets) % size.members
    at = start + rng.integers(DAY, DAYS * DAY, baskets)
    # each sale belongs to one taste: its number modulo the tastes
    own, taste = rng.random((baskets, BASKET)) < FAITH, (buyer * 7 % TASTES)[:, None]
    place = (rng.random((baskets, BASKET)) ** 2 * size.sales).astype(np.int64)
    bought = np.where(own, np.minimum(place // TASTES * TASTES + taste, size.sales - 1), place)
    sale, member = np.arange(size.sales), np.arange(size.members)
    instants = pl.Series(np.repeat(at, BASKET)).cast(pl.Datetime("us", "UTC"))
    return Tables(
        name="made",
        zone="UTC",
        schema=Schema(
            members=(Categorical(column="region"),),
            sales=(Categorical(column="category"), Categorical(column="style")),
        ),
        members=pl.DataFrame({"member": _names("m", member), "region": _names("r", member % 20)}),
        sales=pl.DataFrame({
            "sale": _names("s", sale),
            "opens_at": pl.Series([start] * size.sales).cast(pl.Datetime("us", "UTC")),
            "brand": _names("b", sale % 500),
            "price": 5.0 + sale % 90,
            "category": _names("c", sale % TASTES),
            "style": _names("y", sale % 300),
        }),
        events=pl.DataFrame({
            "member": _names("m", np.repeat(buyer, BASKET)),
            "sale": _names("s", bought.ravel()),
            "at": instants,
            "kind": pl.repeat("purchase", baskets * BASKET, eager=True),
        }).unique(maintain_order=True),
        task="endless",
    )


def _names(letter: str, numbers: np.ndarray) -> pl.Series:
    return pl.select(pl.format("{}{}", pl.lit(letter), pl.Series(numbers))).to_series()
