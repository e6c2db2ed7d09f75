"""What is new to a member: a brand never bought, or not bought for long (DECISION 3)."""

from __future__ import annotations

import numpy as np

from recsys.domain.arrays import F32


def newness(days_since: F32, *, soft: bool, half_life_days: float = 180.0) -> F32:
    """Return how new each sale is to each member in [0, 1], of the shape of `days_since`.

    `days_since` the last touch of the sale's brand; inf = never touched, which is 1. Soft:
    1 - 2^(-days / half life). Strict: 0 from the first touch on.
    """
    if not soft:
        return np.isinf(days_since).astype(np.float32)
    fresh: F32 = 1 - np.exp2(-days_since / np.float32(half_life_days))
    return fresh.astype(np.float32, copy=False)
