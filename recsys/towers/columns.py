"""Columns of several decision times at once: laid out, indexed by sale, each sale once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsys.domain.arrays import I64
from recsys.domain.requests import Requests
from recsys.towers.carry import carry

_MULTIPLE = 16
"""Widths that matrix units take without a detour."""


def padded(columns: I64) -> I64:
    """Return widths I64[G] with room for at least one column that is nobody's."""
    return -(-(columns + 1) // _MULTIPLE) * _MULTIPLE


@dataclass(frozen=True)
class Layout:
    """Columns of G groups, laid out one group after the other; the last of each is nobody's."""

    width: I64
    """I64[G], on the host."""
    group: Tensor
    """int64 [G]."""
    start: Tensor
    """First cell of each group's shelf, int64 [G]."""
    length: Tensor
    """Sales on each group's shelf, int64 [G]."""
    first: Tensor
    """First column of each group, int64 [G]."""
    last: Tensor
    """Last column of each group, int64 [G]."""
    slot: Tensor
    """Which of the G groups, int64 [C]."""
    within: Tensor
    """Place inside the group, int64 [C]."""
    real: Tensor
    """Which columns are somebody's, bool [C]."""

    @classmethod
    def of(cls, requests: Requests, groups: I64, columns: I64, *, device: torch.device) -> Layout:
        """Lay out `columns` I64[G] of each group, and a few that are nobody's behind them."""
        width = padded(columns)
        ends = np.cumsum(width)
        start = requests.shelf_start[groups]
        length = requests.shelf_end[groups] - start
        host = np.stack((groups, start, length, ends - width, ends - 1, width, columns))
        group, starts, lengths, first, last, widths, real = carry(host, device)
        slot = torch.repeat_interleave(widths, output_size=int(ends[-1]))
        within = torch.arange(len(slot), device=device) - first[slot]
        return cls(width, group, starts, lengths, first, last, slot, within, within < real[slot])

    def inside(self, slot: Tensor, column: Tensor) -> Tensor:
        """Return places inside the groups of columns (int64, they broadcast).

        Beyond the group = nowhere: its last place.
        """
        first, last = self.first[slot], self.last[slot]
        return torch.where(column < last, column, last) - first


@dataclass(frozen=True)
class Places:
    """Where each sale stands first among the columns of each group."""

    first: Tensor
    """Column by slot * num_sales + sale; the number of columns = nowhere, int64 [G * S]."""
    drawn: Tensor
    """How often it was drawn there, int64 [G * S]."""
    num_sales: int
    columns: int

    @classmethod
    def of(cls, layout: Layout, sales: Tensor, drawn: Tensor, *, num_sales: int) -> Places:
        """Index columns [C] by sale; `drawn` bool [C] says which were drawn."""
        columns, size = len(sales), len(layout.width) * num_sales
        key = layout.slot * num_sales + sales
        place = torch.where(layout.real, torch.arange(columns, device=key.device), columns)
        first = torch.full((size,), columns, dtype=torch.int64, device=key.device)
        first.scatter_reduce_(0, key, place, "amin")
        count = torch.zeros(size, dtype=torch.int64, device=key.device)
        count.index_add_(0, key, (drawn & layout.real).long())
        return cls(first, count, num_sales, columns)

    def offset(self, layout: Layout, sales: Tensor, each: Tensor) -> Tensor:
        """Return o of each column [C]: a sale drawn n times is one column of weight n."""
        key = layout.slot * self.num_sales + sales
        again = self.first[key] != torch.arange(self.columns, device=key.device)
        return (each + self.drawn[key].clamp(min=1).log()).masked_fill_(again, -torch.inf)

    def find(self, slot: Tensor, sales: Tensor) -> Tensor:
        """Return the column of sales in groups (int64, they broadcast); `columns` = nowhere."""
        return self.first[slot * self.num_sales + sales]
