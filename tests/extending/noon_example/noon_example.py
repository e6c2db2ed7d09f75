"""A re-ranker of one's own: less of what is like the whole slate, not like one sale of it."""

from __future__ import annotations

from typing import Literal

import numpy as np

from recsys.domain.arrays import F32, I64
from recsys.domain.spec import NonNegative, Spec
from recsys.rerank.diversity import ShelfView


class MaxSum(Spec):
    """Less of what is like the chosen sales taken together (Borodin et al. 2012)."""

    kind: Literal["max_sum"] = "max_sum"
    weight: NonNegative = 0.1
    """Price of likeness 1 to each chosen sale, in standard deviations of the member's values."""

    def init(self, view: ShelfView) -> F32:
        """Return likeness to an empty slate: zeros, F32[n, c]."""
        return np.zeros(view.shape, dtype=np.float32)

    def gains(self, state: F32) -> F32:
        """Return minus the likeness to all that was chosen, F32[n, c]."""
        return -state

    def update(self, state: F32, view: ShelfView, chosen: I64) -> F32:
        """Add the likeness to what was chosen; a slate that has ended stays as it is."""
        more = view.likeness(np.maximum(chosen, 0))
        updated: F32 = np.where(chosen[:, None] >= 0, state + more, state)
        return updated
