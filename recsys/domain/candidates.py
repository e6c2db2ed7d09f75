"""The best sales for each member, before anyone decides what is shown."""

from __future__ import annotations

from dataclasses import dataclass

from recsys.domain.arrays import F32, I64


@dataclass(frozen=True)
class Candidates:
    """Best first, padded with NONE (score -inf)."""

    sales: I64
    """Sale rows, I64[m, k]."""
    scores: F32
    """F32[m, k]."""
