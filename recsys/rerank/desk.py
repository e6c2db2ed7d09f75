"""What decisions look up in a shop again and again, computed once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recsys.data.popularity import Popularity
from recsys.domain.arrays import F32, I64, NONE
from recsys.domain.shop import Shop
from recsys.rerank.appetite import USUAL, Appetite


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
    popularity: Popularity
    """Of sales."""
    maker_popularity: Popularity
    """Of makers."""
    appetite: Appetite = USUAL
    """What is usual of members who meet new makers."""

    @classmethod
    def of(cls, shop: Shop, appetite: Appetite = USUAL) -> Desk:
        """Build the indexes: one sort of the history by sale, one by maker."""
        brand = own_keys(shop.brand)
        maker = brand if (shop.brand != NONE).any() else own_keys(shop.category)
        by_maker = replace(shop.history, sale=maker[shop.history.sale].astype(np.int32))
        with np.errstate(divide="ignore", invalid="ignore"):
            log_price = np.where(shop.price > 0, np.log(shop.price), np.float32(np.nan))
        return cls(
            shop=shop,
            maker=maker,
            brand=brand,
            category=shop.category.astype(np.int64),
            log_price=log_price.astype(np.float32),
            popularity=Popularity.of(shop.history, shop.num_sales),
            maker_popularity=Popularity.of(by_maker, int(maker.max(initial=0)) + 1),
            appetite=appetite,
        )


def own_keys(group: np.ndarray) -> I64:
    """Return group rows as keys; a sale of no group gets a key that no other sale has, I64[s]."""
    keys = group.astype(np.int64)
    alone = np.flatnonzero(keys == NONE)
    keys[alone] = int(keys.max(initial=NONE)) + 1 + np.arange(len(alone))
    return keys
