"""Small shops, rankers and offers for the laws of slates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import polars as pl

from recsys.data.asof import history_end
from recsys.domain.arrays import F32, F64, NONE
from recsys.domain.events import DAY, Events, Kind
from recsys.domain.requests import Requests
from recsys.domain.shop import Shop
from recsys.domain.shown import Shown
from recsys.domain.slates import Slates
from recsys.rerank.calibrate import Calibrator
from recsys.rerank.diversity import Reranker, ShelfView
from recsys.rerank.offer import Offer
from recsys.rerank.ranker import Ranker
from recsys.rerank.signals import NAMES
from recsys.rerank.spec import Blend, Diversity, Pure, Rerank
from recsys.rerank.utility import parts
from recsys.rerank.value import FittedValue, Logistic

START = 1_800_000_000_000_000
NEVER = np.iinfo(np.int64).max
RERANKERS: tuple[Reranker[Any], ...] = tuple(kind() for kind in get_args(get_args(Diversity)[0]))
SLATES: tuple[Rerank, ...] = tuple(kind() for kind in get_args(get_args(Rerank)[0]))
SURE = tuple(
    spec if isinstance(spec, Pure) else spec.model_copy(update={"explore_share": 0.0})
    for spec in SLATES
)
"""The same, with nothing left to chance."""
PLAIN = Calibrator(x=np.zeros(0), y=np.zeros(0))
LIKES = {"taste": 1.5, "brand_bought": 0.8, "brand_engaged": 0.3, "own_engaged": 0.4}


@dataclass(frozen=True)
class Did:
    """What one member did, `day` days after START."""

    member: int
    sale: int
    day: float
    kind: Kind = Kind.VIEW


def events_of(done: Sequence[Did], members: int) -> Events:
    done = sorted(done, key=lambda did: (did.member, did.day, did.sale))
    counts = np.bincount(np.array([did.member for did in done], dtype=np.int64), minlength=members)
    return Events(
        sale=np.array([did.sale for did in done], dtype=np.int32),
        at=np.array([START + round(did.day * DAY) for did in done], dtype=np.int64),
        kind=np.array([did.kind for did in done], dtype=np.uint8),
        channel=np.zeros(len(done), dtype=np.uint8),
        flags=np.zeros(len(done), dtype=np.uint8),
        value=np.zeros(len(done), dtype=np.float32),
        member_ptr=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
    )


def shop_of(
    done: Sequence[Did],
    *,
    brand: Sequence[int],
    category: Sequence[int] | None = None,
    price: Sequence[float] | None = None,
    picked: Sequence[int] = (),
    members: int = 3,
) -> Shop:
    """A shop whose sales all open at START and never close; `picked` by an editor all the time."""
    num = len(brand)
    return Shop(
        history=events_of(done, members),
        opens_at=np.full(num, START, dtype=np.int64),
        closes_at=np.full(num, NEVER, dtype=np.int64),
        brand=np.array(brand, dtype=np.int32),
        category=np.array([-1] * num if category is None else category, dtype=np.int32),
        price=np.array([np.nan] * num if price is None else price, dtype=np.float32),
        curated_sale=np.array(picked, dtype=np.int32),
        curated_from=np.full(len(picked), START, dtype=np.int64),
        curated_until=np.full(len(picked), NEVER, dtype=np.int64),
        stock_sale=np.zeros(0, dtype=np.int32),
        stock_at=np.zeros(0, dtype=np.int64),
        stock_left=np.zeros(0, dtype=np.int64),
        shown=Shown.nothing(members),
    )


def info_of(shop: Shop) -> pl.DataFrame:
    """What people call the sales of a shop: s0, s1 ... of brands b000, b001 ..."""
    brand = [None if row == NONE else f"b{row:03d}" for row in shop.brand.tolist()]
    return pl.DataFrame(
        {
            "sale": [f"s{row}" for row in range(shop.num_sales)],
            "brand": brand,
            "category": [None if row == NONE else f"c{row}" for row in shop.category.tolist()],
        },
        schema=dict.fromkeys(("sale", "brand", "category"), pl.String),
    )


def drawn_shop(
    seed: int,
    *,
    members: int = 12,
    sales: int = 15,
    events: int = 80,
    brands: int = 6,
    categories: int = 4,
    kinds: Sequence[Kind] = (Kind.VIEW, Kind.WAIT_LIST, Kind.CART, Kind.PURCHASE),
) -> Shop:
    """A shop drawn by chance; brands or categories 0 = unknown for all."""
    rng = np.random.default_rng(seed)
    done = [
        Did(int(m), int(s), float(d), kinds[int(k)])
        for m, s, d, k in zip(
            rng.integers(0, members, events if sales else 0),
            rng.integers(0, max(sales, 1), events if sales else 0),
            rng.uniform(0, 60, events if sales else 0),
            rng.integers(0, len(kinds), events if sales else 0),
            strict=True,
        )
    ]
    return shop_of(
        done,
        brand=rng.integers(-1, brands, sales).tolist() if brands else [-1] * sales,
        category=rng.integers(-1, categories, sales).tolist() if categories else None,
        price=np.where(rng.random(sales) < 0.2, np.nan, rng.uniform(1, 99, sales)).tolist(),
        picked=np.flatnonzero(rng.random(sales) < 0.2).tolist(),
        members=members,
    )


def asks(shop: Shop, day: float, members: Sequence[int] | None = None) -> Requests:
    """Requests of members (all where not named) before what is open that many days after START."""
    at = START + round(day * DAY)
    asking = np.arange(shop.num_members) if members is None else np.array(members)
    rows = asking.astype(np.int32)
    end = history_end(shop.history, rows, np.array(at))
    return Requests.now(rows, shop.shelf(at), end)


def rows_of(requests: Requests) -> slice:
    return requests.rows(0)


def ranker_of(
    spec: Rerank | None = None, weights: Mapping[str, float] = LIKES, kernel: F32 | None = None
) -> Ranker:
    """A ranker whose log-odds are known weights of the signals."""
    weight = np.array([weights.get(name, 0.0) for name in NAMES])
    model = Logistic(mean=np.zeros(len(NAMES)), weight=weight, offset=-3.0)
    fitted = FittedValue(model, (PLAIN, PLAIN), "purchase")
    return Ranker(spec or Blend(), fitted, 0.02, kernel)


def vectors_of(num: int, seed: int = 0, dim: int = 5) -> F32:
    """Vectors of length 1, F32[num, dim]."""
    made: F32 = np.random.default_rng(seed).normal(size=(num, dim)).astype(np.float32)
    lengths: F32 = np.linalg.norm(made, axis=1, keepdims=True)
    made /= np.maximum(lengths, np.float32(1e-6))
    return made


def taste_of(requests: Requests, shop: Shop, seed: int = 0) -> F32:
    """Scores of all members and sales by chance, cut to those asked, F32[n, s]."""
    full = np.random.default_rng(seed).normal(size=(shop.num_members, shop.num_sales))
    taste: F32 = full[requests.member][:, requests.shelf(0)].astype(np.float32)
    return taste


def slates_of(
    ranker: Ranker, shop: Shop, requests: Requests, *, taste: F32 | None = None
) -> Slates:
    unit = vectors_of(max(shop.num_sales, 1), 3)[requests.shelf(0)]
    scores = taste_of(requests, shop) if taste is None else taste
    return ranker.slates(shop, requests, rows_of(requests), taste=scores, unit=unit)


def mixes_of(seed: int, n: int, groups: int = 3) -> F32:
    """Wanted shares, F32[n, groups + 1]; every fourth member has no past."""
    mix = np.zeros((n, groups + 1), dtype=np.float32)
    mix[:, :groups] = np.random.default_rng(seed).dirichlet(np.ones(groups), n)
    mix[3::4] = 0
    return mix


def offer_of(
    seed: int, *, n: int, c: int, own_shelves: bool = False, coarse: bool = False
) -> Offer:
    """An offer drawn by chance; `coarse` values tie often."""
    rng = np.random.default_rng(seed)
    value = rng.random((n, c)).astype(np.float32)
    if coarse:
        value = (np.round(value * 4) / 4).astype(np.float32)
    lead = n if own_shelves else 1
    unit = vectors_of(lead * c, seed, dim=8).reshape(lead, c, 8)
    new = rng.choice(np.array([0, 0.5, 1], dtype=np.float32), (n, c))
    boost = np.where(rng.random((lead, c)) < 0.3, np.float32(1.25), np.float32(1))
    category = rng.integers(-1, 3, (lead, c))
    return Offer(
        parts=parts(value, new, fatigue=np.ones((1, 1), np.float32), boost=boost, novelty=0.7),
        eligible=rng.random((n, c)) < 0.8,
        sigma=np.full((n, 1), 0.3, dtype=np.float32),
        view=ShelfView(unit, n, category, mixes_of(seed, n)),
        brand=rng.integers(0, 4, (lead, c)),
        category=category,
    )


def no_draws(n: int, slots: int) -> F64:
    return np.zeros((n, slots))
