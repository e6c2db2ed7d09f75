"""Masks over sales, applied before anything is ranked: a wrong score never shows a closed sale."""

from __future__ import annotations

import numpy as np

from recsys.domain.arrays import Bool
from recsys.domain.shelf import Shelf
from recsys.domain.shop import Shop


def on_shelf(shelf: Shelf, num_sales: int) -> Bool:
    """Return which of `num_sales` sales are open and in stock, Bool[num_sales]."""
    mask = np.zeros(num_sales, dtype=np.bool_)
    mask[shelf.sales] = True
    return mask


def in_stock(shop: Shop, at: int) -> Bool:
    """Return which sales have something left at an instant (UTC us), Bool[s]."""
    return ~shop.sold_out(at)


def unseen(shop: Shop, member: int, at: int) -> Bool:
    """Return which sales a member has not engaged with before an instant (UTC us), Bool[s]."""
    history = shop.history
    first, last = history.member_ptr[member], history.member_ptr[member + 1]
    end = first + np.searchsorted(history.at[first:last], at, side="left")
    mask = np.ones(shop.num_sales, dtype=np.bool_)
    mask[history.sale[first:end]] = False
    return mask
