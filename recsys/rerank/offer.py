"""What members may be shown, and what was chosen for them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from recsys.domain.arrays import F32, I16, I64, NONE, Bool
from recsys.rerank.diversity import ShelfView, rows_of
from recsys.rerank.utility import Parts


@dataclass(frozen=True)
class Offer:
    """What n members may be shown: c sales each, in the order that settles ties."""

    parts: Parts
    eligible: Bool
    """May be shown, Bool[n, c]."""
    sigma: F32
    """Scale of variety and temperature, F32[n, 1]."""
    view: ShelfView
    brand: I64
    """Brand key, I64[1, c] or I64[n, c]."""
    category: I64
    """Key of the category or NONE, of the same shape."""
    pinned: I64 | None = None
    """Column that an editor put into each slot, I64[n, N]; NONE = by gain. At most one a slate."""
    pool: Bool | None = None
    """Sales that explorers may be shown, Bool[1, c] or Bool[n, c]."""
    fresh: Bool | None = None
    """New to the member and no editor's pick, Bool[n, c]."""
    dial: F32 | None = None
    """Where the novelty dial stands, F32[n]; needed where dials are drawn."""
    most_fresh: I16 | None = None
    """How many of `fresh` a slate may have beside pins, I16[n], where there is enough else."""

    def at(self, dial: F32) -> Offer:
        """Return the same with the novelty dial at F32[n]."""
        return replace(self, parts=self.parts.at(dial), dial=dial)

    def take(self, rows: I64) -> Offer:
        """Return what some of the members may be shown, I64[k]."""
        return replace(
            self,
            parts=self.parts.take(rows),
            dial=None if self.dial is None else self.dial[rows],
            eligible=self.eligible[rows],
            sigma=self.sigma[rows],
            view=self.view.take(rows),
            brand=rows_of(self.brand, rows),
            category=rows_of(self.category, rows),
            pinned=None if self.pinned is None else self.pinned[rows],
            pool=None if self.pool is None else rows_of(self.pool, rows),
            fresh=None if self.fresh is None else self.fresh[rows],
            most_fresh=None if self.most_fresh is None else self.most_fresh[rows],
        )


@dataclass(frozen=True)
class Picks:
    """What was chosen: n members, N slots."""

    columns: I64
    """Column of the offer, I64[n, N]; NONE where a slate ended."""
    diversity: F32
    """Last part of the gain, F32[n, N]."""
    margin: F32
    """Gain above the best sale left out at that slot, F32[n, N]; inf where none was left."""
    log_propensity: F32
    """F32[n, N]; 0 = certain."""
    explored: Bool
    """Drawn from the pool, whatever the gain, Bool[n, N]."""
    dial: F32 | None = None
    """Where the novelty dial stood, F32[n]; None = the offer has none."""
    by_dial: F32 | None = None
    """Log chance of each slot, given the slots before, had the dial not been drawn, then at each
    of GRID, F32[n, N, 1 + len(GRID)]; None = dials were not drawn."""

    def take(self, rows: I64) -> Picks:
        """Return what was chosen for some of the members, I64[k]."""
        every = {part.name: getattr(self, part.name) for part in fields(self)}
        return replace(self, **{name: one[rows] for name, one in every.items() if one is not None})

    def offered(self, offer: Offer) -> Offer:
        """Return what they were chosen from, with the dial where it stood."""
        return offer if self.by_dial is None or self.dial is None else offer.at(self.dial)


@dataclass(frozen=True)
class Pin:
    """What an editor put into one slot of k slates."""

    rows: I64
    """I64[k]."""
    column: I64
    """Of the offer, I64[k]."""
    worth: F32
    """Utility, F32[k]."""

    def of_all(self, num: int) -> I64:
        """Return the column of each of all slates, I64[num], or NONE."""
        column = np.full(num, NONE, dtype=np.int64)
        column[self.rows] = self.column
        return column


def pins_of(offer: Offer, worth: F32) -> dict[int, Pin]:
    """Return the pins that may be shown, by slot; `worth` F32[c, n] is -inf where one may not."""
    found = dict[int, Pin]()
    if offer.pinned is None:
        return found
    for slot in np.flatnonzero((offer.pinned != NONE).any(axis=0)).tolist():
        rows = np.flatnonzero(offer.pinned[:, slot] != NONE)
        column = offer.pinned[rows, slot]
        rows, column = (one[worth[column, rows] > -np.inf] for one in (rows, column))
        found[slot] = Pin(rows, column, worth[column, rows])
    return found
