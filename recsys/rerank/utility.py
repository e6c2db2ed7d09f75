"""One utility made of named parts, which add up to it bit for bit (DECISION 1)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recsys.domain.arrays import F32, I64, Bool
from recsys.domain.slates import PARTS

UTILITY_PARTS = PARTS[:-1]
"""The parts that do not depend on the rest of the slate."""
NOVELTY = UTILITY_PARTS.index("novelty")
SIGMA_FLOOR = np.float32(0.1)
"""Share of the audience's median deviation below which no member's deviation falls."""


@dataclass(frozen=True)
class Parts:
    """What each sale is worth to each member, by part, in units of value."""

    amounts: F32
    """F32[len(UTILITY_PARTS), n, c], in the order of PARTS."""
    new_worth: F32 | None = None
    """What `novelty` would be with the dial at 1, F32[n, c]; None = the dial is not to be moved."""

    def at(self, dial: F32) -> Parts:
        """Return the same with the dial at F32[n]."""
        if self.new_worth is None:
            raise ValueError("these parts do not know what novelty is worth at another dial")
        amounts = self.amounts.copy()
        np.multiply(self.new_worth, dial[:, None], out=amounts[NOVELTY])
        return replace(self, amounts=amounts)

    def take(self, rows: I64) -> Parts:
        """Return the parts of some of the members, I64[k]."""
        new_worth = None if self.new_worth is None else self.new_worth[rows]
        return Parts(self.amounts[:, rows], new_worth)

    def utility(self) -> F32:
        """Return the float32 sum of the parts in their order, F32[n, c]."""
        return ordered_sum(self.amounts)


def ordered_sum(amounts: F32) -> F32:
    """Add float32 amounts F32[parts, ...] one after the other: the bits of a logged sum."""
    total: F32 = amounts[0].copy()
    for amount in amounts[1:]:
        total += amount
    return total


def parts(
    value: F32,
    new: F32,
    *,
    fatigue: F32,
    boost: F32,
    novelty: float | F32,
    promised: tuple[F32, F32] | None = None,
) -> Parts:
    """Split the utility F32[n, c] of sales into its parts.

    `new` in [0, 1], `fatigue` f in (0, 1], `boost` e > 0 broadcast to F32[n, c]; `novelty` is
    the dial b, one number or F32[n]. appeal = v, fatigue = v (f - 1), editor = v f (e - 1),
    novelty = v f e new b; floor >= 0 and cap <= 0 are `promised`, the prices of promises in units
    of value; None = 0.
    """
    amounts = np.zeros((len(UTILITY_PARTS), *value.shape), dtype=np.float32)
    one = np.float32(1)
    amounts[0] = value
    amounts[1] = value * (fatigue - one)
    amounts[2] = value * fatigue * (boost - one)
    new_worth: F32 = value * fatigue * boost * new
    np.multiply(new_worth, np.float32(novelty).reshape(-1, 1), out=amounts[NOVELTY])
    if promised is not None:
        amounts[4], amounts[5] = promised
    return Parts(amounts, new_worth)


def deviation(value: F32, eligible: Bool) -> F32:
    """Return the standard deviation of value over each member's eligible sales, F32[n]."""
    count = np.maximum(eligible.sum(axis=1), 1)
    known = np.where(eligible, value, np.float32(0)).astype(np.float64)
    mean = known.sum(axis=1) / count
    squares = np.where(eligible, (value - mean[:, None]) ** 2, 0.0).sum(axis=1)
    spread: F32 = np.sqrt(squares / count).astype(np.float32)
    return spread


def sigma(value: F32, eligible: Bool, *, median: float) -> F32:
    """Return the scale of variety, F32[n, 1]: the deviation of value, floored.

    The floor is a tenth of the audience's median, which was measured when the value was fitted:
    it depends on no chunk. Scale comes from value, never from utility, so that a price cannot
    change it.
    """
    least = max(float(SIGMA_FLOOR) * median, float(np.finfo(np.float32).tiny))
    return np.maximum(deviation(value, eligible), np.float32(least))[:, None]
