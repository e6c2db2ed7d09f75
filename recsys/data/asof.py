"""What was known before an instant: a binary search inside each row's own stretch of time."""

from __future__ import annotations

import numpy as np

from recsys.domain.arrays import I32, I64, Bool
from recsys.domain.events import Events
from recsys.domain.shop import Shop


def count_before(ptr: I64, times: I64, row: I32 | I64, *, at: I64) -> I64:
    """Return the position of the first time >= `at` in each row's stretch, I64[broadcast].

    `times[ptr[i]:ptr[i + 1]]` ascends for every row i; `row` and `at` broadcast. Positions count
    from the start of `times`, so subtracting ptr[row] gives how many lie strictly before `at`.
    """
    row, at = np.broadcast_arrays(row, at)
    low, high = ptr[row], ptr[row + 1]
    if not len(times):
        return low
    # as many halvings as the longest stretch needs, each for all rows at once
    for _ in range(int((high - low).max(initial=0)).bit_length()):
        middle = (low + high) >> 1
        earlier = (low < high) & (times[np.minimum(middle, len(times) - 1)] < at)
        low = np.where(earlier, middle + 1, low)
        high = np.where(earlier, high, np.maximum(middle, low))
    return low


def history_end(history: Events, member: I32, at: I64) -> I64:
    """Return where each member's past ends: the first of their events at or after `at`, I64[r]."""
    return count_before(history.member_ptr, history.at, member, at=at)


def curated_at_opening(shop: Shop) -> Bool:
    """Return which sales an editor recommended at the moment they opened, Bool[s]."""
    opens_at = shop.opens_at[shop.curated_sale]
    then = (shop.curated_from <= opens_at) & (opens_at < shop.curated_until)
    curated = np.zeros(shop.num_sales, dtype=np.bool_)
    curated[shop.curated_sale[then]] = True
    return curated
