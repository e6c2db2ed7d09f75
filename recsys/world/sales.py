"""Sales: what opens at each noon, what it looks like, and the appeal that is hidden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, I32, I64, Bool
from recsys.domain.events import HOUR
from recsys.domain.ties import keyed
from recsys.world.brands import STYLE_DIMS, Brands
from recsys.world.clock import weekday
from recsys.world.draws import U64, Luck, draw, draws, normals, on_grid
from recsys.world.spec import FlashSales

BIG_DAY = 2
"""Wednesdays open half as many sales again."""
REST_DAYS = 6
"""A brand waits so long before it opens its next sale."""
CURATED_SHARE = 0.25
EDITOR_NOISE = 0.6
"""Standard deviation of what editors see beside a brand's true quality."""


@dataclass(frozen=True)
class Sales:
    """s sales in order of opening; sales of one day in random order."""

    key: U64
    """Source of the sale's luck, U64[s]."""
    day: I32
    """The day at whose noon it opens, I32[s]; -1 for those already open at the start."""
    opens_at: I64
    closes_at: I64
    brand: I64
    category: I64
    level: F32
    discount: F32
    season: I64
    style: F32
    """F32[s, 16] on the grid."""
    hidden: F32
    """Hidden appeal, standard normal: half from the brand's quality, half its own, F32[s]."""
    seen: F32
    """Quality of the brand as editors see it, F32[s]."""
    curated: Bool
    price: F32
    """Euros, F32[s]."""
    margin_share: F32
    """Part of the price that stays with the shop, F32[s]."""
    stock: I64
    """Pieces at the opening, I64[s]."""

    def __len__(self) -> int:
        """Count the sales."""
        return len(self.day)


def make_sales(spec: FlashSales, brands: Brands, *, noons: I64) -> Sales:
    """Make every sale that opens from day -1 on; noons as in `clock.noons`."""
    brand, day = _launches(spec, brands, days=len(noons) - 4)
    rank_in_day = np.arange(len(day)) - np.searchsorted(day, day)
    key = keyed(spec.seed, Luck.SALE, day.astype(np.int64) + 1, rank_in_day)
    own = normals(key, 4, Luck.SALE, 0)
    luck = draws(key, 5, Luck.SALE, 1)
    level = (0.85 * brands.level[brand] + 0.5 * own[:, 0]).astype(np.float32)
    seen = brands.quality[brand] + np.float32(EDITOR_NOISE) * own[:, 2]
    discount = (0.2 + 0.5 * luck[:, 0]).astype(np.float32)
    side = np.floor(luck[:, 1] * 2).astype(np.int64)
    opens_at = noons[day + 1]
    price = np.exp(3.7 + 0.55 * level + 0.25 * own[:, 3])
    audience = spec.num_members * np.exp(normals(key, 1, Luck.SALE, 2)[:, 0] * 0.9)
    return Sales(
        key=key,
        day=day,
        opens_at=opens_at,
        closes_at=opens_at + (36 + np.floor(luck[:, 2] * 13).astype(np.int64)) * HOUR,
        brand=brand,
        category=brands.categories[brand, side],
        level=level,
        discount=discount,
        season=np.where(luck[:, 3] < 0.4, 0, 1 + np.floor(luck[:, 4] * 3.99)).astype(np.int64),
        style=on_grid(brands.style[brand] + 0.25 * normals(key, STYLE_DIMS, Luck.SALE_STYLE)),
        hidden=(np.sqrt(0.5) * (brands.quality[brand] + own[:, 1])).astype(np.float32),
        seen=seen.astype(np.float32),
        curated=_best_of_day(seen, day),
        price=(np.round(price) - np.where(luck[:, 0] < 0.5, 0.1, 0.0)).astype(np.float32),
        margin_share=(0.45 - 0.35 * discount).astype(np.float32),
        stock=np.maximum(1, np.ceil(0.00055 * audience)).astype(np.int64),
    )


def _launches(spec: FlashSales, brands: Brands, *, days: int) -> tuple[I64, I32]:
    """Draw the brands of each day's sales by fame, none twice within `REST_DAYS`."""
    last = np.full(len(brands), -1_000, dtype=np.int64)
    found: list[I64] = []
    all_keys = keyed(spec.seed, Luck.SALE, 7, np.arange(days + 1)[:, None], np.arange(len(brands)))
    chances = draw(all_keys, Luck.SALE, 8).astype(np.float64)
    for day, keys, chance in zip(range(-1, days), all_keys, chances, strict=True):
        size = spec.sales_a_day * (1.5 if weekday(day) == BIG_DAY else 0.92)
        size = max(2, round(size * (0.9 + 0.2 * chance[0])))
        free = (brands.enters_day <= day) & (day < brands.leaves_day) & (last + REST_DAYS <= day)
        fresh = np.where(day - brands.enters_day < 7, 3.0, 1.0)
        # Efraimidis and Spirakis (2006): sampling by weight without replacement
        race = np.where(free, -np.log1p(-chance) / (brands.fame * fresh), np.inf)
        chosen = np.argsort(race, kind="stable")[: min(size, int(free.sum()))]
        last[chosen] = day
        found.append(chosen[np.argsort(keys[chosen], kind="stable")])
    sizes = [len(chosen) for chosen in found]
    return np.concatenate(found), np.repeat(np.arange(-1, days, dtype=np.int32), sizes)


def _best_of_day(seen: F32, day: I32) -> Bool:
    """Pick the best quarter of each day's sales as editors see them."""
    order = np.lexsort((-seen, day))
    rank = np.empty(len(day), dtype=np.int64)
    rank[order] = np.arange(len(day)) - np.searchsorted(day, day)
    picked: Bool = rank < np.ceil(CURATED_SHARE * np.bincount(day + 1)[day + 1])
    return picked
