"""How often each sale was engaged with before an instant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.data.asof import count_before
from recsys.domain.arrays import F32, I32, I64
from recsys.domain.events import Events


@dataclass(frozen=True)
class Popularity:
    """Engagements by sale and time: O(log n) a question, nothing at or after `at` is counted."""

    sale_ptr: I64
    """I64[s + 1]: engagements with sale i are times[sale_ptr[i]:sale_ptr[i + 1]]."""
    times: I64
    """UTC us, I64[n], ascending inside each sale."""

    @classmethod
    def of(cls, history: Events, num_sales: int) -> Popularity:
        """Sort the engagements of `Dataset.history` by sale and time."""
        return cls.counting(history.sale, history.at, num_sales)

    @classmethod
    def counting(cls, sale: I32, at: I64, num_sales: int) -> Popularity:
        """Count anything else that happened to sale rows I32[n] at UTC us I64[n]."""
        counts = np.bincount(sale, minlength=num_sales)
        return cls(
            sale_ptr=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            times=_by_sale(sale, at, num_sales),
        )

    def counts(self, sales: I32, at: I64 | int, window_us: int | None = None) -> F32:
        """Count engagements strictly before `at`, at most `window_us` before it where given.

        `sales` (rows of sales, all >= 0) and `at` (UTC us) broadcast: [k] with an instant, or
        [g, k] with [g, 1]. Returns F32 of the common shape.
        """
        when = np.asarray(at, dtype=np.int64)
        end = count_before(self.sale_ptr, self.times, sales, at=when)
        if window_us is None:
            start = self.sale_ptr[sales]
        else:
            start = count_before(self.sale_ptr, self.times, sales, at=when - window_us)
        return (end - start).astype(np.float32)


def _by_sale(sale: I32, at: I64, num_sales: int) -> I64:
    """Return instants by sale, ascending inside each."""
    first = int(at.min(initial=0))
    span = int(at.max(initial=0)) - first + 1
    if num_sales * span >= np.iinfo(np.int64).max:
        return at[np.lexsort((at, sale))]
    # one whole number instead of two: thirty times as fast, and nothing else is sorted along
    key = sale.astype(np.int64)
    key *= span
    key += at
    key -= first
    key.sort()
    key %= span
    key += first
    return key
