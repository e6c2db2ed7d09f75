"""Tiny shops with a taste to learn, for every test that needs a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl

from recsys.data.contract import check
from recsys.domain.arrays import F64, I64
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY, HOUR
from recsys.domain.schema import Bag, Categorical, Numeric, Schema, Text
from recsys.domain.source import Source
from recsys.domain.tables import Tables

ZONE = "Europe/Paris"
FIRST_NOON = datetime(2026, 3, 24, 11, tzinfo=UTC)
"""Noon in Paris; the sixth noon (29 March) is the first in summer time."""
STYLES = 5
KINDS = np.array(["view", "cart", "wait_list", "purchase"])
WORDS = np.array([
    ["silk", "evening", "gown"],
    ["linen", "summer", "shirt"],
    ["oak", "table", "lamp"],
    ["trail", "running", "shoe"],
    ["toy", "wooden", "train"],
])
SCHEMA = Schema(
    members=(
        Categorical(column="region"),
        Bag(column="likes", shares="category"),
        Numeric(column="income", sensitive=True),
    ),
    sales=(
        Categorical(column="category", shares="category"),
        Categorical(column="gender"),
        Text(column="title"),
        Numeric(column="discount"),
        Bag(column="tags"),
    ),
    category="category",
)


@dataclass(frozen=True)
class _Shop:
    rng: np.random.Generator
    members: int
    opens: I64
    closes: I64
    style: I64
    """Style of each sale."""
    taste: F64
    """Chance weights of styles, one row a member."""


def tiny_tables(
    *,
    seed: int = 0,
    members: int = 40,
    days: int = 12,
    sales_a_day: int = 6,
    task: Literal["shelf", "endless"] = "shelf",
) -> Tables:
    """Make a clean small shop in which each member prefers two of five styles."""
    rng = np.random.default_rng(seed)
    opens = np.repeat(_noons(days), sales_a_day)
    taste = np.full((members, STYLES), 0.04)
    liked = rng.permuted(np.tile(np.arange(STYLES), (members, 1)), axis=1)[:, :2]
    np.put_along_axis(taste, liked, 0.44, axis=1)
    shop = _Shop(
        rng=rng,
        members=members,
        opens=opens,
        closes=opens + rng.choice([36, 48], len(opens)) * HOUR,
        style=np.arange(len(opens), dtype=np.int64) % STYLES,
        taste=taste,
    )
    return Tables(
        name="tiny",
        zone=ZONE,
        schema=SCHEMA,
        members=_members(shop, liked),
        sales=_sales(shop, task),
        events=_events(shop),
        exposures=_exposures(shop, sales_a_day),
        curation=_curation(shop),
        stock=_stock(shop),
        watermark=FIRST_NOON + timedelta(days=days),
        task=task,
        shelf_hours=240.0 if task == "endless" else None,
    )


def tiny_dataset(
    *,
    seed: int = 0,
    members: int = 40,
    days: int = 12,
    sales_a_day: int = 6,
    task: Literal["shelf", "endless"] = "shelf",
) -> Dataset:
    """Make the checked dataset of `tiny_tables`."""
    tables = tiny_tables(seed=seed, members=members, days=days, sales_a_day=sales_a_day, task=task)
    return check(tables, Source()).dataset


def _noons(days: int) -> I64:
    """Noons of the shop's zone, made here by hand: the clock moves on the sixth day."""
    first = int(FIRST_NOON.timestamp()) * 1_000_000
    day = np.arange(days, dtype=np.int64)
    return first + day * DAY - np.where(day >= 5, HOUR, 0)


def _instants(values: I64) -> pl.Series:
    return pl.Series(values).cast(pl.Datetime("us", "UTC"))


def _ids(letter: str, rows: I64) -> pl.Series:
    return pl.Series([f"{letter}{row:04d}" for row in rows.tolist()], dtype=pl.String)


def _members(shop: _Shop, liked: I64) -> pl.DataFrame:
    rows = np.arange(shop.members, dtype=np.int64)
    joined = shop.opens[0] - shop.rng.integers(1, 300, shop.members) * DAY
    return pl.DataFrame({
        "member": _ids("m", rows),
        "joined_at": _instants(joined),
        "consent_personalise": rows % 20 != 19,
        "consent_mail": rows % 10 != 9,
        "region": [f"region {row % 3}" for row in rows.tolist()],
        "likes": [[f"category {style}" for style in pair[:1]] for pair in liked.tolist()],
        "income": shop.rng.integers(20, 90, shop.members).astype(np.float64),
    })


def _sales(shop: _Shop, task: str) -> pl.DataFrame:
    rows = np.arange(len(shop.opens), dtype=np.int64)
    brand = shop.style * 3 + shop.rng.integers(0, 3, len(rows))
    words = WORDS[shop.style, shop.rng.integers(0, 3, len(rows))]
    second = WORDS[shop.style, shop.rng.integers(0, 3, len(rows))]
    frame = pl.DataFrame({
        "sale": _ids("s", rows),
        "brand": [f"brand {row}" for row in brand.tolist()],
        "opens_at": _instants(shop.opens),
        "closes_at": _instants(shop.closes),
        "price": shop.rng.integers(10, 200, len(rows)).astype(np.float64),
        "title": [f"{a} {b}" for a, b in zip(words.tolist(), second.tolist(), strict=True)],
        "category": [f"category {style}" for style in shop.style.tolist()],
        "gender": np.where(rows % 3 == 0, "women", "all"),
        "discount": shop.rng.integers(0, 8, len(rows)) / 10,
        "tags": [[f"tag {style}", f"tag {style % 2 + 5}"] for style in shop.style.tolist()],
    })
    return frame.drop("closes_at") if task == "endless" else frame


def _events(shop: _Shop) -> pl.DataFrame:
    """Visits at two of three noons, each with looks at up to three sales opened that noon."""
    noons = np.unique(shop.opens)
    looks = 3
    member, day, _ = np.indices((shop.members, len(noons), looks)).reshape(3, -1)
    here = np.repeat(shop.rng.random(shop.members * len(noons)) < 0.67, looks)
    member, day = member[here], day[here]
    sale = _liked_sale(shop, member, day)
    # half-minute steps that differ by row keep (member, sale, kind, at) unique
    step = np.arange(len(member), dtype=np.int64) % 7919
    at = noons[day] + shop.rng.integers(0, 30, len(member)) * HOUR + step * 100_000 + 1
    kind = shop.rng.choice(KINDS, len(member), p=[0.6, 0.15, 0.05, 0.2])
    spent = np.where(kind == "purchase", 30.0, 0.0)
    looked = pl.DataFrame({
        "member": _ids("m", member),
        "sale": _ids("s", sale),
        "kind": kind,
        "at": _instants(at),
        "channel": shop.rng.choice(["web", "app", "mail"], len(member)),
        "value": spent,
        "is_machine": np.zeros(len(member), dtype=np.bool_),
    })
    opened = pl.DataFrame({
        "member": _ids("m", member[::looks]),
        "sale": pl.Series([None] * len(member[::looks]), dtype=pl.String),
        "kind": "mail_open",
        "at": _instants(noons[day[::looks]] + 60_000_000 + step[::looks]),
        "channel": "mail",
        "value": 0.0,
        "is_machine": shop.rng.random(len(member[::looks])) < 0.3,
    })
    return pl.concat([looked, opened])


def _liked_sale(shop: _Shop, member: I64, day: I64) -> I64:
    """Draw for each row one of the sales opened that day, by the member's taste of its style."""
    sales_a_day = len(shop.opens) // len(np.unique(shop.opens))
    offered = day[:, None] * sales_a_day + np.arange(sales_a_day)
    weight = shop.taste[member[:, None], shop.style[offered]]
    reached = np.cumsum(weight, axis=1)
    luck = shop.rng.random(len(member)) * reached[:, -1]
    place = (reached < luck[:, None]).sum(axis=1)
    return np.asarray(offered[np.arange(len(member)), place], dtype=np.int64)


def _exposures(shop: _Shop, sales_a_day: int) -> pl.DataFrame:
    """Each noon's mail: three of the sales that open, at random, to every member who gets it."""
    noons = np.unique(shop.opens)
    slots = min(3, sales_a_day)
    member, day = np.indices((shop.members, len(noons))).reshape(2, -1)
    picks = shop.rng.permuted(np.tile(np.arange(sales_a_day), (len(member), 1)), axis=1)[:, :slots]
    sale = (day[:, None] * sales_a_day + picks).ravel()
    slot = np.tile(np.arange(slots), len(member))
    mailed = np.repeat(day, slots)
    return pl.DataFrame({
        "member": _ids("m", np.repeat(member, slots)),
        "sale": _ids("s", sale),
        "at": _instants(noons[mailed]),
        "send": [f"mail {number:02d}" for number in mailed.tolist()],
        "slot": slot,
        "channel": "mail",
        "propensity": 1.0 / (sales_a_day - slot),
    })


def _curation(shop: _Shop) -> pl.DataFrame:
    picked = np.flatnonzero(shop.rng.random(len(shop.opens)) < 0.25)
    return pl.DataFrame({
        "sale": _ids("s", picked),
        "from_at": _instants(shop.opens[picked]),
        "until_at": _instants(shop.opens[picked] + 24 * HOUR),
    })


def _stock(shop: _Shop) -> pl.DataFrame:
    """Every seventh sale has 20 pieces and sells out after 20 hours."""
    sold_out = np.arange(0, len(shop.opens), 7, dtype=np.int64)
    times = np.concatenate([shop.opens[sold_out], shop.opens[sold_out] + 20 * HOUR])
    return pl.DataFrame({
        "sale": _ids("s", np.concatenate([sold_out, sold_out])),
        "at": _instants(times),
        "left": np.repeat([20, 0], len(sold_out)),
    })
