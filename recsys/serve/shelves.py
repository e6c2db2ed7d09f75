"""The shelf by the clock: it turns when a sale opens, closes or sells out, without a reload."""

from __future__ import annotations

import numpy as np

from recsys.domain.shelf import Shelf
from recsys.domain.shop import Shop

_MINUTE = 60_000_000
_MOMENT = 100_000


class Shelves:
    """Makes the shelf of an instant, and keeps it until the next instant at which it changes."""

    def __init__(self, shop: Shop) -> None:
        """Collect the instants at which anything on the shelf changes."""
        self._shop = shop
        self._changes = np.unique(
            np.concatenate([
                shop.opens_at,
                shop.closes_at,
                shop.curated_from,
                shop.curated_until,
                shop.stock_at,
            ])
        )
        self._kept: tuple[int, Shelf] | None = None

    def at(self, at: int) -> Shelf:
        """Return what is open and in stock at an instant (UTC us).

        A catalogue without closing times is looked at once a minute.
        """
        stretch = int(np.searchsorted(self._changes, at, side="right"))
        if self._shop.shelf_hours is not None:
            stretch = at // _MINUTE
        kept = self._kept
        if kept is None or kept[0] != stretch:
            kept = (stretch, self._shop.shelf(at))
            self._kept = kept
        return Shelf(at=at, sales=kept[1].sales, curated=kept[1].curated)

    def moment(self, now: int) -> int:
        """Return an instant (UTC us) to answer for: now, cut to a tenth of a second.

        What is asked at once can so be answered together. It has the shelf of `now`: an instant
        at which that changed is not cut away.
        """
        turned = now // _MINUTE * _MINUTE
        if self._shop.shelf_hours is None:
            stretch = int(np.searchsorted(self._changes, now, side="right"))
            turned = int(self._changes[stretch - 1]) if stretch else now
        return max(now - now % _MOMENT, turned)

    def next_opening(self, at: int) -> int | None:
        """Return the first instant after `at` (UTC us) at which a sale opens, if there is one."""
        later = self._shop.opens_at[self._shop.opens_at > at]
        return int(later.min()) if len(later) else None
