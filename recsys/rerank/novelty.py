"""What is new to a member: a brand never met, or not met for long (DECISION 3).

To meet a brand is to engage with one of its sales. The dial, the value model's signal, the
reasons, the report's chart and the judge's slices all measure from that last touch.
"""

from __future__ import annotations

import numpy as np

from recsys.domain.arrays import F32, Bool

HALF_LIFE_DAYS = 180.0
"""Days without a touch after which a brand is half new again."""


def newness(days_since: F32, *, soft: bool, half_life_days: float = HALF_LIFE_DAYS) -> F32:
    """Return how new each sale is to each member in [0, 1], of the shape of `days_since`.

    `days_since` the last touch of the sale's brand; inf = never touched, which is 1. Soft:
    1 - 2^(-days / half life). Strict: 0 from the first touch on.
    """
    if not soft:
        return np.isinf(days_since).astype(np.float32)
    fresh: F32 = 1 - np.exp2(-days_since / np.float32(half_life_days))
    return fresh.astype(np.float32, copy=False)


def is_new(days_since: F32) -> Bool:
    """Return where a brand counts as new: never touched (inf), or softly new by half and more."""
    new: Bool = newness(days_since, soft=True) >= np.float32(0.5)
    return new
