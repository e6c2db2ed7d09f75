"""A shop as decisions see it: arrays of its past and sales, alike in training and serving."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, I32, I64, Bool
from recsys.domain.events import HOUR, Events
from recsys.domain.shelf import Shelf
from recsys.domain.shown import Shown


@dataclass(frozen=True)
class Shop:
    """m members, s sales, c curations, k changes of stock; instants are UTC us."""

    history: Events
    """Engagements that may be learned from, sorted by (member, at)."""
    opens_at: I64
    """I64[s], ascending."""
    closes_at: I64
    """I64[s]; the largest i64 = never."""
    brand: I32
    """Brand row, I32[s]; NONE where unknown."""
    category: I32
    """Category row, I32[s]; NONE where unknown."""
    price: F32
    """F32[s]; NaN where unknown."""
    curated_sale: I32
    """Sale row of each curation, I32[c]."""
    curated_from: I64
    curated_until: I64
    stock_sale: I32
    """Sale row of each change of stock, I32[k]."""
    stock_at: I64
    stock_left: I64
    shown: Shown
    """What members who consent were shown."""
    shelf_hours: float | None = None
    """On the shelf = engaged with in the last hours; None = by opens_at and closes_at."""

    @property
    def num_sales(self) -> int:
        """Count the sales."""
        return len(self.opens_at)

    @property
    def num_members(self) -> int:
        """Count the members."""
        return len(self.history.member_ptr) - 1

    def shelf(self, at: int) -> Shelf:
        """Return the sales on offer at an instant: open <= at < close, in stock."""
        rows = np.flatnonzero(self._on_offer(at) & ~self.sold_out(at)).astype(np.int32)
        return Shelf(at=at, sales=rows, curated=self.curated(at)[rows])

    def _on_offer(self, at: int) -> Bool:
        if self.shelf_hours is None:
            return (self.opens_at <= at) & (at < self.closes_at)
        first = at - int(self.shelf_hours * HOUR)
        lately = (self.history.at >= first) & (self.history.at < at)
        on_offer = np.zeros(self.num_sales, dtype=np.bool_)
        on_offer[self.history.sale[lately]] = True
        return on_offer

    def sold_out(self, at: int) -> Bool:
        """Return the sales whose last change of stock up to `at` left nothing, Bool[s]."""
        known = np.flatnonzero(self.stock_at <= at)
        order = known[np.argsort(self.stock_at[known], kind="stable")]
        left = np.ones(self.num_sales, dtype=np.int64)
        # later assignments win, so each sale keeps its newest change
        left[self.stock_sale[order]] = self.stock_left[order]
        return left <= 0

    def curated(self, at: int) -> Bool:
        """Return which sales an editor recommends at an instant, Bool[s]."""
        now = (self.curated_from <= at) & (at < self.curated_until)
        curated = np.zeros(self.num_sales, dtype=np.bool_)
        curated[self.curated_sale[now]] = True
        return curated
