"""What each member is shown, place by place, with the reason and the chance it had."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from recsys.domain.arrays import F32, I64, U8

PARTS = ("appeal", "fatigue", "editor", "novelty", "floor", "cap", "diversity")
"""Score parts of a slot, in the order in which they are added (DECISION 1)."""

FLAG_PINNED = 1
FLAG_EXPLORED = 2
FLAG_REPAIRED = 4


class Reason(IntEnum):
    """Why a sale holds its slot; the first that applies (DECISION 6)."""

    NOTHING = 0
    EDITOR_PIN = 1
    TRYING_SOMETHING_NEW = 2
    CURATOR_PICK = 3
    CURATOR_PICK_NEW_TO_YOU = 4
    EDITOR_BOOST = 5
    NEW_TO_YOU = 6
    BECAUSE_YOU_BOUGHT = 7
    BECAUSE_YOU_LOOKED = 8
    ON_YOUR_WAIT_LIST = 9
    SIMILAR_TO = 10
    POPULAR_NOW = 11
    FITS_YOUR_TASTE = 12
    BOUGHT_BEFORE = 13


@dataclass(frozen=True)
class Slates:
    """m members, n slots; a slate that ends early is padded with NONE."""

    members: I64
    """Member rows, I64[m]."""
    sales: I64
    """Sale rows, I64[m, n]."""
    parts: F32
    """F32[m, n, len(PARTS)]: their ordered sum is the gain the slot was won with."""
    margin: F32
    """Gain above the best sale left out at that slot, F32[m, n]."""
    log_propensity: F32
    """Log chance of this sale at this slot given the slots before it, F32[m, n]; 0 = certain, NaN
    on a slate that was changed afterwards (FLAG_REPAIRED)."""
    reason: U8
    """U8[m, n], see `Reason`."""
    evidence: I64
    """Sale row that the reason points at (the one bought, the one alike), or NONE, I64[m, n]."""
    flags: U8
    """FLAG_PINNED | FLAG_EXPLORED | FLAG_REPAIRED, U8[m, n]."""

    @property
    def gains(self) -> F32:
        """The gain each slot was won with, F32[m, n]: the float32 sum of its parts in order."""
        total = np.zeros(self.parts.shape[:2], dtype=np.float32)
        for part in range(self.parts.shape[2]):
            total = total + self.parts[:, :, part]
        return total
