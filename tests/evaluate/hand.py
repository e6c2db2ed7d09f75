"""Shops and requests written out by hand, small enough to count on one's fingers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from recsys.data.spectrum import Engaged
from recsys.domain.arrays import I64
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY, KIND_WEIGHTS, Channel, Events, Kind
from recsys.domain.requests import Requests
from recsys.domain.schema import Categorical, Schema
from recsys.domain.slates import PARTS, Slates

START = 1_800_000_000_000_000


@dataclass(frozen=True)
class Did:
    """What one member did, `day` days after START."""

    member: int
    sale: int
    day: float
    kind: Kind = Kind.VIEW
    channel: Channel = Channel.WEB


@dataclass(frozen=True)
class Sale:
    brand: str | None
    category: str | None = None
    opens: float = 0.0


@dataclass(frozen=True)
class Ask:
    """A member's request before shelf `group`, and what followed."""

    member: int
    targets: Mapping[int, Kind]
    group: int = 0
    at: float | None = None
    """Days after START, where it is not the shelf's own instant."""


@dataclass(frozen=True)
class Stand:
    day: float
    sales: Sequence[int]
    curated: Sequence[int] = ()


def instant(day: float) -> int:
    return START + round(day * DAY)


def events(did: Sequence[Did], members: int) -> Events:
    rows = sorted(did, key=lambda one: (one.member, one.day, one.sale))
    count = np.bincount([one.member for one in rows], minlength=members)
    return Events(
        sale=np.array([one.sale for one in rows], dtype=np.int32),
        at=np.array([instant(one.day) for one in rows], dtype=np.int64),
        kind=np.array([one.kind for one in rows], dtype=np.uint8),
        channel=np.array([one.channel for one in rows], dtype=np.uint8),
        flags=np.zeros(len(rows), dtype=np.uint8),
        value=np.zeros(len(rows), dtype=np.float32),
        member_ptr=np.concatenate(([0], np.cumsum(count))).astype(np.int64),
    )


def shop(
    sales: Sequence[Sale],
    did: Sequence[Did] = (),
    *,
    members: int = 3,
    task: Literal["shelf", "endless"] = "shelf",
) -> Dataset:
    def times(days: Sequence[float]) -> pl.Series:
        return pl.Series([instant(day) for day in days], dtype=pl.Int64).cast(
            pl.Datetime("us", "UTC")
        )

    return Dataset(
        name="hand",
        zone="UTC",
        schema=Schema(members=(), sales=(Categorical(column="category"),), category="category"),
        members=pl.DataFrame({"consent_personalise": [True] * members}),
        sales=pl.DataFrame(
            {
                "brand": [sale.brand for sale in sales],
                "category": [sale.category for sale in sales],
                "price": [10.0] * len(sales),
                "opens_at": times([sale.opens for sale in sales]),
                "closes_at": times([sale.opens + 100 for sale in sales]),
            },
            schema_overrides={"brand": pl.String, "category": pl.String},
        ),
        events=events(did, members),
        exposures=pl.DataFrame(),
        curation=pl.DataFrame(
            schema={"sale": pl.Int32, "from_at": pl.Int64, "until_at": pl.Int64},
        ),
        stock=pl.DataFrame(schema={"sale": pl.Int32, "at": pl.Int64, "left": pl.Int64}),
        watermark=instant(100),
        fingerprint="0" * 16,
        task=task,
    )


def requests(data: Dataset, stands: Sequence[Stand], asks: Sequence[Ask]) -> Requests:
    """Requests of `asks`, which come in the order (group, member)."""
    width = np.array([len(stand.sales) for stand in stands], dtype=np.int64)
    end = np.cumsum(width)
    at = [instant(stands[ask.group].day if ask.at is None else ask.at) for ask in asks]
    kinds = [kind for ask in asks for kind in ask.targets.values()]
    return Requests(
        group_at=np.array([instant(stand.day) for stand in stands], dtype=np.int64),
        shelf_start=end - width,
        shelf_end=end,
        shelf_sale=np.array([sale for s in stands for sale in s.sales], dtype=np.int32),
        shelf_curated=np.array([sale in s.curated for s in stands for sale in s.sales], dtype=bool),
        member=np.array([ask.member for ask in asks], dtype=np.int32),
        at=np.array(at, dtype=np.int64),
        group=np.array([ask.group for ask in asks], dtype=np.int32),
        history_end=history_end(data.history, [ask.member for ask in asks], at),
        target_ptr=np.cumsum([0, *(len(ask.targets) for ask in asks)]).astype(np.int64),
        target_sale=np.array([sale for ask in asks for sale in ask.targets], dtype=np.int32),
        target_kind=np.array(kinds, dtype=np.uint8),
        target_weight=KIND_WEIGHTS[np.array(kinds, dtype=np.int64)],
        outcome_us=3 * DAY,
    )


def known_by(data: Dataset, day: float, *, most: int | None = None) -> Engaged:
    """What all members did before a day."""
    asks = [Ask(member, {}) for member in range(data.num_members)]
    block = requests(data, [Stand(day, range(data.num_sales))], asks)
    return Engaged.of(data.history, block, num_sales=data.num_sales, most=most)


def history_end(history: Events, members: Sequence[int], at: Sequence[int]) -> I64:
    ends = []
    for member, instant_ in zip(members, at, strict=True):
        first, last = history.member_ptr[member], history.member_ptr[member + 1]
        ends.append(first + np.searchsorted(history.at[first:last], instant_))
    return np.array(ends, dtype=np.int64)


def slates(members: Sequence[int], sales: Sequence[Sequence[int]]) -> Slates:
    rows = np.array(sales, dtype=np.int64)
    zero = np.zeros(rows.shape, dtype=np.float32)
    return Slates(
        members=np.array(members, dtype=np.int64),
        sales=rows,
        parts=np.zeros((*rows.shape, len(PARTS)), dtype=np.float32),
        margin=zero,
        log_propensity=zero,
        reason=np.zeros(rows.shape, dtype=np.uint8),
        evidence=np.full(rows.shape, -1, dtype=np.int64),
        flags=np.zeros(rows.shape, dtype=np.uint8),
    )
