"""One figure per request: how well relevant sales are placed (MODEL 6), what slates are like.

Beside being right, slates are judged by variety, mix and discovery, and by their reach over all
requests (DECISION 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys.domain.arrays import F32, F64, I32, I64, Bool

SMOOTHING = 0.01
"""Share of the member's own mix that is blended into a slate's (Steck 2018)."""


@dataclass(frozen=True)
class Relevant:
    """t relevant sales of n requests."""

    request: I64
    """I64[t], ascending, in [0, num)."""
    num: int
    gain: F64
    """Weight of the strongest event, F64[t]."""
    bought: Bool
    """Bool[t]."""
    seen: F64
    """Engagements with the sale before the request, + 1, F64[t]."""

    def where(self, keep: Bool) -> Relevant:
        """Keep some of the relevant sales; requests stay, even those left without any."""
        return Relevant(
            self.request[keep], self.num, self.gain[keep], self.bought[keep], self.seen[keep]
        )

    def total(self, values: F64 | Bool) -> F64:
        """Add up values F64[t] by request, F64[n]."""
        sums = np.bincount(self.request, weights=values, minlength=self.num)
        return sums.astype(np.float64)


def ranking(relevant: Relevant, rank: F64, ks: Sequence[int]) -> dict[str, F64]:
    """Return figures per request, F64[n]; NaN where nothing relevant defines one.

    `rank` F64[t] counts from 1; inf = not shown. recall divides by all that is relevant (the
    published denominator), capped_recall by min(k, relevant); nDCG's ideal order is cut at k.
    """
    count = relevant.total(np.ones(len(rank)))
    none = np.where(count > 0, 0.0, np.nan)
    first = np.full(relevant.num, np.inf)
    np.minimum.at(first, relevant.request, rank)
    figures = {"mrr": 1 / first + none}
    purchases = relevant.where(relevant.bought)
    for k in ks:
        shown = rank <= k
        hits = relevant.total(shown)
        figures |= {
            f"recall_at_{k}": ratio(hits, count),
            f"capped_recall_at_{k}": ratio(hits, np.minimum(count, k)),
            f"hit_at_{k}": np.minimum(hits, 1) + none,
            f"ndcg_at_{k}": ndcg(relevant, rank, k),
            f"value_ndcg_at_{k}": ndcg(relevant, rank, k, gain=relevant.gain),
            f"purchase_ndcg_at_{k}": ndcg(purchases, rank[relevant.bought], k),
            f"debiased_recall_at_{k}": ratio(
                relevant.total(shown / relevant.seen), relevant.total(1 / relevant.seen)
            ),
        }
    return figures


def ndcg(relevant: Relevant, rank: F64, k: int, *, gain: F64 | None = None) -> F64:
    """Return DCG@k over that of the ideal order, F64[n] (Jarvelin and Kekalainen 2002).

    Binary where no gain F64[t] is given.
    """
    gain = np.ones(len(rank)) if gain is None else gain
    order = np.lexsort((-gain, relevant.request))
    count = np.bincount(relevant.request, minlength=relevant.num)
    place = np.arange(len(rank)) - (np.cumsum(count) - count)[relevant.request] + 1.0
    ideal = relevant.total(_discounted(gain[order], place, k))
    return ratio(relevant.total(_discounted(gain, rank, k)), ideal)


def ordering(relevant: Relevant, better: F64, rank: F64, *, pool: I64) -> dict[str, F64]:
    """Return auc and mean_percentile_rank of whole pools of I64[n] sales, F64[n].

    `better` F64[t] counts the sales of the pool scored above each target, ties half.
    auc: pairs ordered right; mean_percentile_rank: 0 = always first, 0.5 = random (Hu 2008).
    """
    count = relevant.total(np.ones(len(rank)))
    # a pair of relevant sales adds 1 to the sum of `better`, whichever of the two is ahead
    wrong = relevant.total(better) - count * (count - 1) / 2
    share = ratio(relevant.total(rank - 1), count * (pool - 1))
    return {
        "auc": 1 - ratio(wrong, count * (pool - count)),
        "mean_percentile_rank": share,
    }


def ratio(above: F64, below: F64 | I64) -> F64:
    """Divide; NaN where there is nothing to divide by."""
    found: F64 = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return found


def _discounted(gain: F64, rank: F64, k: int) -> F64:
    return np.where(rank <= k, gain / np.log2(rank + 1), 0.0)


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
    gain: F64 = (p * np.log(np.divide(p, blend, out=np.ones_like(p), where=p > 0))).sum(axis=1)
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
