"""A dataset on the training device: bags, histories and clocks as tensors (MODEL 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsys.data.popularity import Popularity
from recsys.domain.arrays import F32, I64
from recsys.domain.dataset import Dataset
from recsys.domain.encoded import Encoded, Features
from recsys.domain.events import DAY, HOUR
from recsys.towers.carry import carry

SECOND = 1_000_000
"""Microseconds in a second."""


@dataclass(frozen=True)
class Bag:
    """`Features` as tensors; rows count in the compact table of rows in use."""

    ptr: I64
    """I64[n + 1], on the host: the length of a gather is known without asking the device."""
    start: Tensor
    """The same pointers on the device, int64 [n + 1]."""
    row: Tensor
    """int32 [nnz], as is `field`: the narrower, the quicker they are gathered."""
    field: Tensor
    """int32 [nnz]."""
    weight: Tensor
    """float32 [nnz]."""
    missing: Tensor
    """int32 [fields]."""
    dense: Tensor
    """float32 [n, q]."""

    @classmethod
    def of(cls, features: Features, used: I64, device: torch.device) -> Bag:
        """Copy the features to a device; `used` I64[rows in use], ascending."""

        def compact(rows: np.ndarray) -> Tensor:
            return torch.from_numpy(np.searchsorted(used, rows).astype(np.int32)).to(device)

        ptr = np.asarray(features.ptr, dtype=np.int64)
        return cls(
            ptr=ptr,
            start=torch.from_numpy(ptr.copy()).to(device),
            row=compact(features.row),
            field=torch.from_numpy(features.field.astype(np.int32)).to(device),
            weight=torch.from_numpy(features.weight.astype(np.float32)).to(device),
            missing=compact(features.missing_row),
            dense=torch.from_numpy(features.dense.astype(np.float32)).to(device),
        )


def rows_in_use(encoded: Encoded) -> I64:
    """Return the rows of the shared table that any value points at, I64[rows], ascending.

    Adam leaves a row without gradient where it is, so training these rows alone gives the same
    numbers as training the whole table.
    """
    parts = (encoded.members, encoded.sales)
    rows = [a for part in parts for a in (part.row, part.missing_row)]
    return np.unique(np.concatenate(rows)).astype(np.int64)


@dataclass(frozen=True)
class Past:
    """Whose past, up to which event of `Dataset.history`, seen from when: B requests."""

    member: I64
    """Rows of members, I64[B]."""
    end: I64
    """The past is [member_ptr[member], end), I64[B]."""
    at: I64
    """UTC us, I64[B]."""


@dataclass(frozen=True)
class Window:
    """The last L events before each of B requests, newest first, padded with valid = False."""

    sale: Tensor
    """int64 [B, L]; 0 where padded."""
    what: Tensor
    """kind * 5 + channel, int64 [B, L]."""
    days: Tensor
    """Days between event and request, float32 [B, L]."""
    valid: Tensor
    """bool [B, L]."""
    so_far: Tensor
    """Events of the member before the request, all of them, float32 [B]."""


@dataclass(frozen=True)
class Resident:
    """One dataset's tensors; instants are seconds since its first opening."""

    members: Bag
    sales: Bag
    event_sale: Tensor
    """int32 [n]: engagements that may be learned from, by member and time."""
    event_second: Tensor
    """int32 [n]; int64 where they lie more than 68 years from the first opening."""
    event_what: Tensor
    """kind * 5 + channel, uint8 [n]."""
    log_price: Tensor
    """log(1 + price) of each sale, NaN where unknown, float32 [S]."""
    used: I64
    """Rows of the shared table in use, I64[rows]."""
    member_ptr: I64
    popularity: Popularity
    opens_at: I64
    epoch: int
    """UTC us from which seconds are counted."""
    device: torch.device

    @classmethod
    def of(cls, dataset: Dataset, encoded: Encoded, device: torch.device) -> Resident:
        """Copy what training and export need to a device."""
        history, used = dataset.history, rows_in_use(encoded)
        epoch = int(dataset.opens_at[0]) if dataset.num_sales else 0
        what = history.kind.astype(np.uint8) * 5 + np.minimum(history.channel, 4).astype(np.uint8)
        second = (history.at - epoch) // SECOND
        far = np.abs(second).max(initial=0) > np.iinfo(np.int32).max
        return cls(
            members=Bag.of(encoded.members, used, device),
            sales=Bag.of(encoded.sales, used, device),
            event_sale=torch.from_numpy(history.sale.astype(np.int32)).to(device),
            event_second=torch.from_numpy(second if far else second.astype(np.int32)).to(device),
            event_what=torch.from_numpy(what).to(device),
            log_price=torch.from_numpy(np.log1p(dataset.shop.price)).to(device),
            used=used,
            member_ptr=np.asarray(history.member_ptr, dtype=np.int64),
            popularity=Popularity.of(history, dataset.num_sales),
            opens_at=dataset.opens_at,
            epoch=epoch,
            device=device,
        )

    @property
    def num_sales(self) -> int:
        """Count the sales."""
        return len(self.opens_at)

    def window(self, past: Past, *, length: int) -> Window:
        """Cut the last events of each past.

        The one place where histories are cut, for training, export and tests alike.
        """
        first = self.member_ptr[past.member]
        longest = int((past.end - first).max(initial=0))
        host = np.stack((first, past.end, (past.at - self.epoch) // SECOND))
        start, stop, second = carry(host, self.device)
        steps = torch.arange(1, max(1, min(length, longest)) + 1, device=self.device)
        cell = stop[:, None] - steps
        valid = cell >= start[:, None]
        if not len(self.event_sale):
            blank = torch.zeros_like(cell)
            return Window(blank, blank, blank.float(), valid, (stop - start).float())
        cell = cell.clamp_(min=0)
        seconds = (second[:, None] - self.event_second.take(cell)).clamp_(min=0)
        return Window(
            sale=self.event_sale.take(cell) * valid.long(),
            what=self.event_what.take(cell).long(),
            days=seconds.float() * (SECOND / DAY),
            valid=valid,
            so_far=(stop - start).float(),
        )

    def as_of(self, sales: I64, at: I64, *, hours: tuple[float, ...]) -> F32:
        """Return what changes with time about sales, F32[k, 3 + len(hours)] (RULINGS 5).

        Log counts of engagements before `at` (UTC us, I64[k]) in all and in each window, log hours
        since the opening, and whether it opened within 24 h. Only a sale's bias sees these.
        """
        rows = sales.astype(np.int32)
        counts = [self.popularity.counts(rows, at)]
        counts += [self.popularity.counts(rows, at, int(h * HOUR)) for h in hours]
        age = np.maximum(at - self.opens_at[sales], 0)
        columns = [np.log1p(c) for c in counts] + [np.log1p(age / HOUR), age < DAY]
        return np.stack(columns, axis=1).astype(np.float32)
