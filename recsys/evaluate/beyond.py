"""What slates are like beside being right: reach, discovery, variety, mix (DECISION 9)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys.domain.arrays import F32, F64, I32, I64, Bool

SMOOTHING = 0.01
"""Share of the member's own mix that is blended into a slate's (Steck 2018)."""


@dataclass(frozen=True)
class Shown:
    """n slates of at most k places, best first; places that stay empty are masked."""

    column: I64
    """Column of the shelf, I64[n, k]; any where masked."""
    filled: Bool
    """Bool[n, k]."""

    def first(self, k: int) -> Shown:
        """Keep the first places."""
        return Shown(self.column[:, :k], self.filled[:, :k])

    def mean(self, of_sale: Bool | F32) -> F64:
        """Average what [1 or n, s] says of each sale over the places, F64[n]; NaN where empty."""
        return ratio((self.take(of_sale) * self.filled).sum(axis=1), self.filled.sum(axis=1))

    def take(self, of_sale: Bool | F32) -> F64:
        """Return what [1 or n, s] says of the sale at each place, F64[n, k]."""
        if len(of_sale) == 1:
            row: F64 = of_sale[0].astype(np.float64)
            return row[self.column]
        taken: F64 = np.take_along_axis(of_sale, self.column, axis=1).astype(np.float64)
        return taken


def ratio(above: F64, below: F64 | I64) -> F64:
    """Divide; NaN where there is nothing to divide by."""
    found: F64 = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return found


def ild(shown: Shown, vectors: sparse.csr_array) -> F64:
    """Average 1 - cosine over the pairs of a slate, F64[n]; NaN below two places.

    `vectors` [s, d] are rows of length 1; the sum of a slate's vectors gives all its pairs.
    """
    n, width = len(shown.column), vectors.shape[0]
    row, slot = np.nonzero(shown.filled)
    places = sparse.csr_array((np.ones(len(row)), (row, shown.column[row, slot])), shape=(n, width))
    total = places @ vectors
    square = np.asarray(total.multiply(total).sum(axis=1)).ravel()
    lengths = np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel()
    count = shown.filled.sum(axis=1)
    pairs = count * (count - 1)
    alike = square - places @ lengths
    return 1 - ratio(alike, pairs)


def mix_kl(shown: Shown, kinds: I32, own: F32) -> F64:
    """Return KL(p || q~): the member's mix of kinds against the slate's, F64[n] (Steck 2018).

    `own` F32[n, c] holds the member's past weight on each kind, `kinds` I32[s] the kind of each
    sale on the shelf (c - 1 = not known, which counts nowhere). q~ = (1 - a) q + a p, a = 0.01.
    NaN where the member has no past or the slate no known kind.
    """
    n, width = own.shape
    row, slot = np.nonzero(shown.filled)
    cells = row * width + kinds[shown.column[row, slot]]
    slate = np.bincount(cells, minlength=n * width).reshape(n, width).astype(np.float64)
    p, q = _shares(own[:, :-1].astype(np.float64)), _shares(slate[:, :-1])
    blend = (1 - SMOOTHING) * q + SMOOTHING * p
    ratio = np.divide(p, blend, out=np.ones_like(p), where=p > 0)
    gain: F64 = (p * np.log(ratio)).sum(axis=1)
    return gain


def _shares(weights: F64) -> F64:
    total = weights.sum(axis=1, keepdims=True)
    return ratio(weights, np.broadcast_to(total, weights.shape))


def coverage(counts: F64) -> F64:
    """Return the share of sales that are shown at all, F64[d]; counts F64[s, d]."""
    return np.asarray((counts > 0).mean(axis=0))


def p90_coverage(counts: F64) -> F64:
    """Return the smallest share of sales that fill 90 % of all places, F64[d]."""
    filled = np.cumsum(np.sort(counts, axis=0)[::-1], axis=0)
    return np.asarray((filled < 0.9 * filled[-1] - 1e-9).sum(axis=0) + 1) / len(counts)


def gini(counts: F64) -> F64:
    """Return the Gini coefficient of how often sales are shown, F64[d]; 0 = all alike."""
    s = len(counts)
    weight = 2 * np.arange(1, s + 1) - s - 1
    return np.nan_to_num(
        ratio(weight.astype(np.float64) @ np.sort(counts, axis=0), s * counts.sum(axis=0))
    )
