"""Bootstrap by member: whole members are drawn, so that their requests stay together.

Each draw gives every member a Poisson(1) weight (Hanley and MacGibbon 2006), which makes all
draws of all figures one matrix product. Scorers share the draws, so their differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import e, factorial

import numpy as np
from scipy import sparse

from recsys.domain.arrays import F32, F64, I32, I64, NONE, U8
from recsys.domain.report import Estimate

# chances of the weights 0, 1, 2 ... in 65,536ths
_POISSON = np.repeat(
    np.arange(9, dtype=np.uint8),
    np.diff(np.round(np.cumsum([0.0] + [65536 / e / factorial(n) for n in range(9)]))).astype(int),
)
BLOCK = 64
"""Draws multiplied at a time: bounds memory to BLOCK x members floats."""
SET_DRAWS = 100
"""Draws behind the intervals of figures of whole sets of slates."""


@dataclass(frozen=True)
class Draws:
    """d draws of m members, for r requests."""

    weights: U8
    """How often each draw takes each member, U8[d, m]."""
    sums: sparse.csr_array
    """Adds up requests by member, [m, r]."""

    @classmethod
    def of(cls, members: I32, num_draws: int, seed: int) -> Draws:
        """Draw the members behind the requests I32[r]."""
        found, row = np.unique(members, return_inverse=True)
        words = np.random.default_rng(seed).integers(
            0, len(_POISSON), size=(num_draws, len(found)), dtype=np.uint16
        )
        cells = (np.ones(len(row)), (row, np.arange(len(row))))
        sums = sparse.csr_array(cells, shape=(len(found), len(row)))
        return cls(weights=_POISSON[words], sums=sums)

    def product(self, by_member: F32) -> F32:
        """Add up member rows F32[m, j] as each draw weighs them, F32[d, j]."""
        blocks = [
            self.weights[first : first + BLOCK].astype(np.float32) @ by_member
            for first in range(0, len(self.weights), BLOCK)
        ]
        return np.concatenate(blocks)


@dataclass(frozen=True)
class Means:
    """j figures: means over the requests that define them, and the same mean in each draw."""

    value: F64
    """F64[j]."""
    n: I64
    """Requests that define each, I64[j]."""
    sample: F32
    """F32[d, j]."""

    def estimates(self) -> list[Estimate]:
        """Return value, 2.5 % and 97.5 % quantile of the draws, and n of each figure."""
        return _estimates(self.value, self.sample, self.n)

    def minus(self, other: Means) -> list[Estimate]:
        """Return the paired differences to the same figures of another scorer."""
        return _estimates(self.value - other.value, self.sample - other.sample, self.n)


def means(values: F64, draws: Draws, rows: I64 | None = None) -> Means:
    """Average each column of F64[r, j] over its rows that are not NaN, in `rows` where given."""
    sums = draws.sums if rows is None else draws.sums[:, rows]
    values = values if rows is None else values[rows]
    defined = ~np.isnan(values)
    total = np.asarray(sums @ np.where(defined, values, 0.0))
    count = np.asarray(sums @ defined.astype(np.float64))
    n = count.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = total.sum(axis=0) / n
        drawn = draws.product(total.astype(np.float32)) / draws.product(count.astype(np.float32))
    # a draw without any such request says nothing: it stands at the mean
    sample = np.where(np.isfinite(drawn), drawn, value.astype(np.float32))
    return Means(value=value, n=np.rint(n).astype(np.int64), sample=sample)


def whole(top: I64, draws: Draws, num_sales: int, *, figure: Callable[[F64], F64]) -> Estimate:
    """Estimate a figure of how often each sale is shown, from slates I64[r, k] padded with NONE.

    `figure` maps counts F64[num_sales, d] to F64[d]. A draw repeats members and so reaches fewer
    sales than they do together; therefore the draws give the width alone: value -+ 1.96 sd.
    """
    request, slot = np.nonzero(top != NONE)
    shown = (np.ones(len(request)), (request, top[request, slot]))
    by_member = draws.sums @ sparse.csr_array(shown, shape=(len(top), num_sales))
    weights = draws.weights[:SET_DRAWS].astype(np.float64)
    value = float(figure(np.asarray(by_member.sum(axis=0), dtype=np.float64).reshape(-1, 1))[0])
    spread = float(figure(np.asarray(by_member.T @ weights.T)).std())
    low, high = max(value - 1.96 * spread, 0.0), min(value + 1.96 * spread, 1.0)
    return Estimate(value=value, low=low, high=high, n=len(top))


def _estimates(value: F64, sample: F32, n: I64) -> list[Estimate]:
    low, high = np.quantile(sample, [0.025, 0.975], axis=0)
    return [
        Estimate(value=float(v), low=float(min(a, v)), high=float(max(b, v)), n=int(count))
        for v, a, b, count in zip(value, low, high, n, strict=True)
    ]
