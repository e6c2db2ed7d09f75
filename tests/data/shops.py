"""Small shops made by hand, so that these laws need no contract."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import polars as pl

from recsys.domain.arrays import I64
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY, HOUR, Events
from recsys.domain.schema import Bag, Categorical, Numeric, Schema, Text, Vector

START = 1_767_225_600_000_000
"""2026-01-01 00:00 UTC."""
SCHEMA = Schema(
    members=(Categorical(column="city", shares="city"), Numeric(column="age", buckets=4)),
    sales=(
        Categorical(column="category"),
        Categorical(column="city", shares="city"),
        Numeric(column="discount", buckets=4),
        Bag(column="tags"),
        Text(column="title"),
        Vector(column="image", dim=3),
    ),
    category="category",
)


def instants(at: I64 | list[int] | list[int | None]) -> pl.Series:
    return pl.Series(at, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))


def events(member: I64, sale: I64, at: I64, *, kind: I64 | None = None, members: int = 8) -> Events:
    order = np.lexsort((sale, at, member))
    counts = np.bincount(member, minlength=members)
    n = len(member)
    kinds = np.ones(n, dtype=np.int64) if kind is None else kind
    return Events(
        sale=sale[order].astype(np.int32),
        at=at[order].astype(np.int64),
        kind=kinds[order].astype(np.uint8),
        channel=np.zeros(n, dtype=np.uint8),
        flags=np.zeros(n, dtype=np.uint8),
        value=np.zeros(n, dtype=np.float32),
        member_ptr=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
    )


def shop(
    history: Events,
    *,
    days: int = 40,
    sales_a_day: int = 3,
    task: Literal["shelf", "endless"] = "shelf",
    seed: int = 0,
) -> Dataset:
    """`sales_a_day` sales open at each noon (UTC) and close 48 hours later."""
    rng = np.random.default_rng(seed)
    opens = START + 12 * HOUR + np.repeat(np.arange(days, dtype=np.int64), sales_a_day) * DAY
    n, m = len(opens), len(history.member_ptr) - 1
    words = np.array(["red", "silk", "gown", "oak", "lamp", "trail"])
    never = list[int | None]([None] * n)
    closes = list[int | None]((opens + 48 * HOUR).tolist()) if task == "shelf" else never
    sales = pl.DataFrame({
        "sale": [f"s{row:04d}" for row in range(n)],
        "brand": [None if row % 7 == 6 else f"b{row % 5}" for row in range(n)],
        "opens_at": instants(opens),
        "closes_at": instants(closes),
        "curated": [row % 4 == 0 for row in range(n)],
        "price": [None if row % 11 == 10 else 10.0 + row for row in range(n)],
        "category": [f"c{row % 3}" for row in range(n)],
        "city": [["Paris", "Lyon", None][row % 3] for row in range(n)],
        "discount": [None if row % 6 == 5 else (row % 8) / 10 for row in range(n)],
        "tags": [
            [f"t{row % 4}", f"t{row % 5}", f"t{row % 4}"] if row % 9 else [] for row in range(n)
        ],
        "title": [
            None if row % 10 == 9 else " ".join(words[rng.integers(0, 6, 3)]) for row in range(n)
        ],
        "image": [
            None if row % 5 == 4 else (rng.normal(size=6) * [9, 3, 1, 1, 1, 1] + 20).tolist()
            for row in range(n)
        ],
    })
    members = pl.DataFrame({
        "member": [f"m{row:03d}" for row in range(m)],
        "joined_at": instants([START - DAY] * m),
        "consent_personalise": [True] * m,
        "consent_mail": [True] * m,
        "city": [["Paris", "Lyon", None][row % 3] for row in range(m)],
        "age": [None if row % 4 == 3 else 20.0 + 7 * row for row in range(m)],
    })
    curated = np.flatnonzero(np.arange(n) % 4 == 0)
    return Dataset(
        name="by_hand",
        zone="UTC",
        schema=SCHEMA,
        members=members,
        sales=sales,
        events=history,
        exposures=pl.DataFrame(),
        curation=pl.DataFrame({
            "sale": curated.astype(np.int32),
            "from_at": opens[curated],
            "until_at": opens[curated] + DAY,
        }),
        stock=pl.DataFrame(
            schema={"sale": pl.Int32, "at": pl.Int64, "left": pl.Int64},
        ),
        watermark=START + days * DAY,
        fingerprint="0" * 16,
        task=task,
    )


def cut(dataset: Dataset, at: int) -> Dataset:
    """The same shop as it was known at `at`: nothing opened, done or decided since."""
    frame = dataset.sales.filter(pl.Series(dataset.opens_at < at))
    return replace(
        dataset,
        sales=frame,
        events=dataset.events.where(dataset.events.at < at),
        curation=dataset.curation.filter(pl.col("from_at") < at, pl.col("sale") < frame.height),
        watermark=at,
    )


def random_events(seed: int, *, days: int = 40, n: int = 600, members: int = 8) -> Events:
    """Looks at sales that are open, at whole quarters of hours, so that instants meet."""
    rng = np.random.default_rng(seed)
    at = START + 13 * HOUR + rng.integers(0, (days * 24 - 14) * 4, n) * (HOUR // 4)
    launched = (at - START - 12 * HOUR) // DAY
    sale = 3 * np.maximum(launched - rng.integers(0, 2, n), 0) + rng.integers(0, 3, n)
    kind = rng.choice([1, 3, 4, 5, 6], n)
    return events(rng.integers(0, members, n), sale, at, kind=kind, members=members)
