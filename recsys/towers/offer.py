"""What may be given to whom: the open sales in the order of ties, consent, what was seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsys.domain.arrays import F32, I32, I64, NONE, Bool
from recsys.domain.ties import tie_order


@dataclass(frozen=True)
class Filters:
    """What may be given to whom; applied before anything is chosen."""

    open: Bool | None = None
    """Sales that may be chosen at all: on offer, in stock. Bool[n]; None is all."""
    consent: Bool | None = None
    """Members who may be chosen for; others get nothing. Bool[m]; None is all."""
    seen_ptr: I64 | None = None
    """Where each member's part of `seen_sale` begins, I64[m + 1]; None excludes nothing."""
    seen_sale: I32 | None = None
    """Sale rows that a member may not be given, I32[e]."""

    def check(self, members: int, sales: int) -> None:
        """Refuse filters of another shape than the audience's.

        Raises:
            ValueError: lengths differ, or exclusions are no sales.
        """
        for name, mask, length in (("open", self.open, sales), ("consent", self.consent, members)):
            if mask is not None and (mask.shape != (length,) or mask.dtype != np.bool_):
                raise ValueError(f"{name} is {mask.dtype}{list(mask.shape)}, wanted bool[{length}]")
        if (self.seen_ptr is None) != (self.seen_sale is None):
            raise ValueError("seen_ptr and seen_sale go together: one of them is missing")
        if self.seen_ptr is None or self.seen_sale is None:
            return
        ptr, seen = self.seen_ptr, self.seen_sale
        if (
            ptr.shape != (members + 1,)
            or ptr[0]
            or ptr[-1] != len(seen)
            or (np.diff(ptr) < 0).any()
        ):
            raise ValueError(
                f"seen_ptr must rise from 0 to {len(seen)} in {members + 1} steps, one a member"
            )
        if len(seen) and not 0 <= seen.min() <= seen.max() < sales:
            raise ValueError(f"seen_sale spans {seen.min()} to {seen.max()}; sales are {sales}")

    def seen(self, rows: I64) -> tuple[I64, I32]:
        """Return the exclusions of members: places in `rows` I64[e] and sales I32[e]."""
        if self.seen_ptr is None or self.seen_sale is None:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
        start, many = self.seen_ptr[rows], self.seen_ptr[rows + 1] - self.seen_ptr[rows]
        place = np.repeat(np.arange(len(rows)), many)
        before = np.cumsum(many) - many
        at = np.arange(len(place)) + np.repeat(start - before, many)
        return place, self.seen_sale[at]

    def take(self, rows: I64) -> Filters:
        """Return the filters of some members."""
        place, sale = self.seen(rows)
        ptr = np.searchsorted(place, np.arange(len(rows) + 1)).astype(np.int64)
        return Filters(
            open=self.open,
            consent=None if self.consent is None else self.consent[rows],
            seen_ptr=None if self.seen_ptr is None else ptr,
            seen_sale=None if self.seen_sale is None else sale,
        )


@dataclass(frozen=True)
class Offer:
    """The open sales in the order in which equal scores rank them."""

    vectors: Tensor
    """F32[n, d], one a rank, on the device."""
    sales: Tensor
    """Sale row of each rank, I32[n], on the device."""
    rank: I64
    """Of each sale row, I64[N]; NONE for sales that are not open."""
    limit: float
    """Numbers of a member must be smaller than this, or scores would leave float32."""

    @classmethod
    def of(cls, sales: F32, is_open: Bool | None, *, seed: int, device: str) -> Offer:
        """Put sales F32[N, d] in order.

        Raises:
            ValueError: a number is not finite.
        """
        if not np.isfinite(sales).all():
            raise ValueError("vectors of sales hold numbers that are not finite")
        rows = np.arange(len(sales)) if is_open is None else np.flatnonzero(is_open)
        rows = rows[tie_order(rows, seed)]
        rank = np.full(len(sales), NONE, dtype=np.int64)
        rank[rows] = np.arange(len(rows))
        vectors = sales[rows]
        largest = float(np.abs(vectors).max(initial=0.0))
        return cls(
            vectors=torch.from_numpy(vectors).to(device),
            sales=torch.from_numpy(rows.astype(np.int32)).to(device),
            rank=rank,
            limit=1e37 / max(1.0, largest * vectors.shape[1]),
        )

    def __len__(self) -> int:
        """Count the open sales."""
        return len(self.sales)
