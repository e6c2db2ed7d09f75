"""What a purchase is worth: each alike, or by the price of its sale (DECISION 1, worth)."""

from __future__ import annotations

import numpy as np

from recsys.domain.arrays import F32, I64
from recsys.rerank.desk import Desk

SPREAD = 8.0
"""No sale counts for more than so many of the usual price, nor for less than one in so many."""


def by_price(desk: Desk, sales: I64) -> F32:
    """Return what a purchase of each sale is worth, in purchases at the shop's median price.

    F32 of the shape of `sales`; 1 where a price is not known. So values keep their unit and size,
    and with them the scale of variety and the prices of promises.
    """
    apart = np.exp(desk.log_price[sales] - desk.usual_log_price)
    worth: F32 = np.clip(np.nan_to_num(apart, nan=1.0), 1 / SPREAD, SPREAD).astype(np.float32)
    return worth
