"""Large tables: only the rows that a step touches are updated, by row-wise Adagrad (MODEL 5).

Adam, its gradient and the averaged weights go through a whole table each step, however few of its
rows were used. Here a step costs what its own rows cost, and a row's state is two numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn

_TINY = 1e-8
_BLOCK = 1 << 18
"""Rows that follow at once when all do."""


@dataclass
class Rows:
    """One table, what Adagrad keeps of its rows, and how far their averages have followed."""

    table: nn.Parameter
    """[R, D]."""
    averaged: Tensor
    """[R, D]: of each row as of the last step that touched it; see `follow`."""
    total: Tensor
    """Sum over the steps of the mean square of a row's gradient, float32 [R]."""
    seen: Tensor
    """Log of the averages' decay over all steps when the row's last followed, float64 [R]."""
    row: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    """Rows that the step touched, ascending, int64 [U]."""
    gradient: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    """Of these rows, mean over processes, float32 [U, D]."""

    @classmethod
    def of(cls, table: nn.Parameter, averaged: Tensor) -> Rows:
        """Start without a past."""
        seen = torch.zeros(len(table), dtype=torch.float64, device=table.device)
        return cls(table, averaged, torch.zeros_like(seen, dtype=torch.float32), seen)

    def collect(self) -> Tensor:
        """Take the table's sparse gradient, summed over repeats and processes; return it [U, D]."""
        row = torch.zeros(0, dtype=torch.int64, device=self.table.device)
        values = self.table.new_zeros(0, self.table.shape[1])
        if self.table.grad is not None:
            sparse = self.table.grad
            # the public names are for summed ones alone, and torch sums on one thread
            row, values = sparse._indices()[0], sparse._values()  # ruff: ignore[private-member-access]
        self.table.grad = None
        self.row, self.gradient = _summed(row, values)
        if dist.is_available() and dist.is_initialized():
            self.row, self.gradient = _summed(*_of_all(self.row, self.gradient))
            self.gradient /= dist.get_world_size()
        return self.gradient

    @torch.no_grad()
    def step(self, *, rate: float, before: float, decay: float) -> None:
        """Update the touched rows, and let their averages follow.

        `before` = log of the averages' decay over all earlier steps, `decay` = that of this one.
        """
        row, gradient = self.row, self.gradient
        old = self.table[row]
        average = self._followed(row, old, before)
        self.total[row] += gradient.square().mean(dim=1)
        new = old - rate * gradient / (self.total[row].sqrt() + _TINY)[:, None]
        self.table[row] = new
        self.averaged[row] = new + (average - new) * decay
        self.seen[row] = before + log_of(decay)

    def _followed(self, row: Tensor | slice, now: Tensor, before: float) -> Tensor:
        """Return averages of rows that stood still since they were last touched: exact, in one."""
        kept = torch.exp(before - self.seen[row]).to(now.dtype)
        return now + (self.averaged[row] - now) * kept[:, None]

    @torch.no_grad()
    def follow(self, before: float) -> None:
        """Let the averages of all rows follow up to now: needed before they are used or kept."""
        for first in range(0, len(self.table), _BLOCK):
            rows = slice(first, first + _BLOCK)
            self.averaged[rows] = self._followed(rows, self.table[rows], before)
        self.seen.fill_(before)

    def to(self, device: torch.device) -> None:
        """Move what is kept of the rows to where the table will be."""
        self.total, self.seen = self.total.to(device), self.seen.to(device)

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps beside the weights."""
        return {"total": self.total, "seen": self.seen}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` returned."""
        self.total.copy_(state["total"])
        self.seen.copy_(state["seen"])


def log_of(decay: float) -> float:
    """Return the log of a decay; that of 0 is as good as minus infinity, and can be subtracted."""
    return math.log(max(decay, 1e-300))


def _summed(row: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row once, ascending, with the sum of its values, in one order of adding."""
    once, place = torch.unique(row, return_inverse=True)
    return once, values.new_zeros(len(once), values.shape[1]).index_add_(0, place, values)


def _of_all(row: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows and values of all processes, in the order of their ranks."""
    world, width = dist.get_world_size(), values.shape[1]
    mine = torch.tensor([len(row)], device=row.device)
    lengths = [torch.zeros_like(mine) for _ in range(world)]
    dist.all_gather(lengths, mine)
    sizes = [int(length) for length in lengths]
    found: list[list[Tensor]] = []
    for part, shape in ((row, (max(sizes),)), (values, (max(sizes), width))):
        padded = part.new_zeros(shape)
        padded[: len(part)] = part
        every = [torch.empty_like(padded) for _ in range(world)]
        dist.all_gather(every, padded)
        found.append([one[:size] for one, size in zip(every, sizes, strict=True)])
    return torch.cat(found[0]), torch.cat(found[1])
