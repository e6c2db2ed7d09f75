"""How well relevant sales are placed: one figure per request (MODEL 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F64, I64, Bool


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
            f"recall_at_{k}": _ratio(hits, count),
            f"capped_recall_at_{k}": _ratio(hits, np.minimum(count, k)),
            f"hit_at_{k}": np.minimum(hits, 1) + none,
            f"ndcg_at_{k}": ndcg(relevant, rank, k),
            f"value_ndcg_at_{k}": ndcg(relevant, rank, k, gain=relevant.gain),
            f"purchase_ndcg_at_{k}": ndcg(purchases, rank[relevant.bought], k),
            f"debiased_recall_at_{k}": _ratio(
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
    return _ratio(relevant.total(_discounted(gain, rank, k)), ideal)


def ordering(relevant: Relevant, better: F64, rank: F64, *, pool: I64) -> dict[str, F64]:
    """Return auc and mean_percentile_rank of whole pools of I64[n] sales, F64[n].

    `better` F64[t] counts the sales of the pool scored above each target, ties half.
    auc: pairs ordered right; mean_percentile_rank: 0 = always first, 0.5 = random (Hu 2008).
    """
    count = relevant.total(np.ones(len(rank)))
    # a pair of relevant sales adds 1 to the sum of `better`, whichever of the two is ahead
    wrong = relevant.total(better) - count * (count - 1) / 2
    share = _ratio(relevant.total(rank - 1), count * (pool - 1))
    return {
        "auc": 1 - _ratio(wrong, count * (pool - count)),
        "mean_percentile_rank": share,
    }


def _discounted(gain: F64, rank: F64, k: int) -> F64:
    return np.where(rank <= k, gain / np.log2(rank + 1), 0.0)


def _ratio(above: F64, below: F64) -> F64:
    ratio: F64 = np.divide(above, below, out=np.full(len(below), np.nan), where=below > 0)
    return ratio
