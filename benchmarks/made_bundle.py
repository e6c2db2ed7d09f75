"""A bundle of any size, made by chance, for benchmarks of what is opened and served.

Random vectors of 64 numbers and a bias, 2,000 sales of three days in half a year, 20 engagements
and 5 showings for each member who consents; the weights of the value model are set by hand.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from recsys.domain.arrays import F32, I32, I64, Bool
from recsys.domain.embeddings import Embeddings
from recsys.domain.events import DAY, Events, Kind
from recsys.domain.idtable import IdTable
from recsys.domain.shop import Shop
from recsys.domain.shown import Shown
from recsys.rerank.calibrate import Calibrator
from recsys.rerank.ranker import Ranker
from recsys.rerank.signals import NAMES
from recsys.rerank.spec import Blend
from recsys.rerank.value import FittedValue, Logistic
from recsys.retrieval.index import build
from recsys.retrieval.spec import Exact
from recsys.serve.parts import BundleParts

SALES, DIM = 2_000, 64
ENGAGED, SHOWN = 20, 5
"""Engagements and showings of a member who consents to personal slates."""
DAYS, OPEN_DAYS, START = 180, 3, 1_780_000_000_000_000
CONSENT = 0.95
BLOCK = 65_536


def vectors(rows: int, rng: np.random.Generator) -> F32:
    """Draw directions, and a bias behind each, F32[rows, DIM + 1]."""
    made = np.full((rows, DIM + 1), 0.1, dtype=np.float32)
    for first in range(0, rows, BLOCK):
        unit = made[first : first + BLOCK, :DIM]
        unit[:] = rng.standard_normal(unit.shape, dtype=np.float32)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return made


def past(
    opens_at: I64, member_ptr: I64, rng: np.random.Generator, *, since: int
) -> tuple[I32, I64]:
    """Draw sales that had just opened and when, ascending by time inside each member."""
    num = int(member_ptr[-1])
    each = int(np.diff(member_ptr).max(initial=1))
    until = START + DAYS * DAY
    at = np.sort(rng.integers(since, until, (num // each, each)), axis=1).ravel()
    last = np.searchsorted(opens_at, at, side="right") - 1
    return np.maximum(0, last - rng.integers(0, 25, num)).astype(np.int32), at


def shop(personalise: Bool, rng: np.random.Generator, *, sales: int = SALES) -> Shop:
    """Make a shop of half a year; those without consent have no past."""
    opens_at = np.sort(START + rng.integers(0, DAYS, sales) * DAY)
    picked = np.arange(0, sales, 5)
    ends = np.cumsum(personalise, dtype=np.int64)
    ptr = np.concatenate((np.zeros(1, dtype=np.int64), ends))
    sale, at = past(opens_at, ENGAGED * ptr, rng, since=START + DAY)
    byte = np.zeros(len(sale), dtype=np.uint8)
    seen, seen_at = past(opens_at, SHOWN * ptr, rng, since=START + (DAYS - 10) * DAY)
    none = np.zeros(0, dtype=np.int64)
    return Shop(
        history=Events(
            sale=sale,
            at=at,
            kind=rng.choice(np.array([Kind.VIEW, Kind.CART, Kind.PURCHASE]), len(sale)).astype(
                "u1"
            ),
            channel=byte,
            flags=byte,
            value=np.zeros(len(sale), dtype=np.float32),
            member_ptr=ENGAGED * ptr,
        ),
        opens_at=opens_at,
        closes_at=opens_at + OPEN_DAYS * DAY,
        brand=rng.integers(0, 300, sales).astype(np.int32),
        category=rng.integers(0, 12, sales).astype(np.int32),
        price=rng.integers(10, 200, sales).astype(np.float32),
        curated_sale=picked.astype(np.int32),
        curated_from=opens_at[picked],
        curated_until=opens_at[picked] + DAY,
        stock_sale=none.astype(np.int32),
        stock_at=none,
        stock_left=none,
        shown=Shown(seen, seen_at, SHOWN * ptr),
    )


def ranker() -> Ranker:
    """Return slates by value, its weights set by hand: nothing is judged here."""
    weight = np.zeros(len(NAMES))
    weight[NAMES.index("taste")] = 1.5
    plain = Calibrator(x=np.zeros(0), y=np.zeros(0))
    model = Logistic(mean=np.zeros(len(NAMES)), weight=weight, offset=-3.0)
    return Ranker(Blend(), FittedValue(model, (plain, plain), "purchase"), 0.02)


def parts(members: int, seed: int = 1, *, sales: int = SALES) -> BundleParts:
    """Make all that a bundle of so many members needs; no Python object a member."""
    rng = np.random.default_rng(seed)
    personalise = rng.random(members) < CONSENT
    made, of_sales = shop(personalise, rng, sales=sales), vectors(sales, rng)
    sale_ids = names("s", sales)
    member_ids = IdTable.of(names("m", members), "member")
    instants = {name: pl.Series(getattr(made, name)) for name in ("opens_at", "closes_at")}
    info = pl.DataFrame({
        "sale": sale_ids,
        "brand": pl.Series(made.brand).cast(pl.String),
        "title": sale_ids,
        **{name: at.cast(pl.Datetime("us", "UTC")) for name, at in instants.items()},
        "price": made.price.astype(np.float64),
        "category": pl.Series(made.category).cast(pl.String),
    })
    until = START + DAYS * DAY
    return BundleParts(
        name="made",
        zone="UTC",
        shop=made,
        members=Embeddings(member_ids, vectors(members, rng), DIM, "made"),
        personalise=personalise,
        sales=Embeddings(sale_ids.to_numpy(), of_sales, DIM, "made"),
        info=info,
        index=build(Exact(), of_sales),
        ranker=ranker(),
        specs={},
        watermark=until,
        decided_at=until,
        of_the_past=True,
    )


def names(letter: str, count: int) -> pl.Series:
    """Return ids such as m0000042, as a column."""
    number = pl.int_range(count).cast(pl.String).str.zfill(7)
    return pl.select(pl.format(f"{letter}{{}}", number)).to_series()
