"""What decisions look up in a shop again and again, computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from recsys.data.popularity import Popularity
from recsys.domain.arrays import F32, I32, I64, NONE
from recsys.domain.events import DAY, Events
from recsys.domain.shop import Shop
from recsys.rerank.appetite import USUAL, Appetite

T = TypeVar("T")

_BLOCK = 1 << 20
"""Engagements counted at a time: bounds memory beside the history."""


@dataclass(frozen=True)
class Counted:
    """Engagements with k keys before one instant, for those who ask about no other."""

    at: int
    """UTC us."""
    so_far: F32
    """F32[k]."""
    last_day: F32
    """Within the 24 hours before, F32[k]."""

    @classmethod
    def of(cls, history: Events, key: I64, at: int) -> Counted:
        """Count the history's engagements by the `key` I64[s] of their sales."""
        size = int(key.max(initial=-1)) + 1
        counts = np.zeros((2, size), dtype=np.int64)
        for first in range(0, len(history), _BLOCK):
            when = history.at[first : first + _BLOCK]
            what = key[history.sale[first : first + _BLOCK]]
            counts[0] += np.bincount(what[when < at], minlength=size)
            late = (when < at) & (when >= at - DAY)
            counts[1] += np.bincount(what[late], minlength=size)
        so_far, last_day = counts.astype(np.float32)
        return cls(at, so_far, last_day)

    def counts(self, keys: I32, at: I64 | int, window_us: int | None = None) -> F32:
        """Return what `Popularity.counts` does, for this instant alone.

        Raises:
            ValueError: another instant, or a window of other than 24 hours.
        """
        if (np.asarray(at) != self.at).any() or window_us not in {None, DAY}:
            raise ValueError(f"counted at {self.at} for 24 hours, asked at {at} for {window_us}")
        table = self.so_far if window_us is None else self.last_day
        return table[np.broadcast_to(keys, np.broadcast_shapes(keys.shape, np.shape(at)))]


@dataclass(frozen=True)
class Desk:
    """A shop and its indexes; s sales."""

    shop: Shop
    maker: I64
    """Key of a sale's brand, I64[s]; where the shop has no brands, of its category."""
    brand: I64
    """Key of a sale's brand, I64[s]; a sale of unknown brand has a key of its own."""
    category: I64
    """Category row or NONE, I64[s]."""
    log_price: F32
    """F32[s]; NaN where unknown or 0."""
    popularity: Popularity | Counted
    """Of sales."""
    maker_popularity: Popularity | Counted
    """Of makers."""
    appetite: Appetite = USUAL
    """What is usual of members who meet new makers."""
    # not handed on by `replace`: another desk would answer otherwise
    _kept: dict[str, tuple[Hashable, Any]] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    def once(self, what: str, asked: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` makes for what is asked; asked the same again, the same once more.

        Of each `what` the last is kept, as shelf and instant stay while members come and go.
        Nobody may change it.
        """
        kept = self._kept.get(what)
        if kept is None or kept[0] != asked:
            # another thread may ask meanwhile: what is returned is our own
            kept = self._kept[what] = (asked, make())
        made: T = kept[1]
        return made

    @cached_property
    def usual_log_price(self) -> float:
        """Median of the known log prices; NaN where none is known."""
        known = self.log_price[~np.isnan(self.log_price)]
        return float(np.median(known)) if len(known) else float("nan")

    @classmethod
    def of(cls, shop: Shop, appetite: Appetite = USUAL) -> Desk:
        """Build the indexes: one sort of the history by sale, one by maker."""
        maker = _makers(shop)
        by_maker = replace(shop.history, sale=maker[shop.history.sale].astype(np.int32))
        return cls._with(
            shop,
            appetite,
            Popularity.of(shop.history, shop.num_sales),
            Popularity.of(by_maker, int(maker.max(initial=0)) + 1),
        )

    @classmethod
    def standing_at(cls, shop: Shop, at: int, appetite: Appetite = USUAL) -> Desk:
        """Lay the desk for requests of one instant (UTC us): counts, and no index to look up.

        It takes no memory that grows with the history, and answers bit for bit as `of` does.
        """
        of_sales = Counted.of(shop.history, np.arange(shop.num_sales), at)
        return cls._with(shop, appetite, of_sales, Counted.of(shop.history, _makers(shop), at))

    @classmethod
    def _with(cls, shop: Shop, appetite: Appetite, *known: Popularity | Counted) -> Desk:
        popularity, maker_popularity = known
        with np.errstate(divide="ignore", invalid="ignore"):
            log_price = np.where(shop.price > 0, np.log(shop.price), np.float32(np.nan))
        return cls(
            shop=shop,
            maker=_makers(shop),
            brand=own_keys(shop.brand),
            category=shop.category.astype(np.int64),
            log_price=log_price.astype(np.float32),
            popularity=popularity,
            maker_popularity=maker_popularity,
            appetite=appetite,
        )


def _makers(shop: Shop) -> I64:
    return own_keys(shop.brand if (shop.brand != NONE).any() else shop.category)


def own_keys(group: np.ndarray) -> I64:
    """Return group rows as keys; a sale of no group gets a key that no other sale has, I64[s]."""
    keys = group.astype(np.int64)
    alone = np.flatnonzero(keys == NONE)
    keys[alone] = int(keys.max(initial=NONE)) + 1 + np.arange(len(alone))
    return keys
