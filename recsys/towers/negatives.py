"""Which sales a step compares with, and how often each could have been drawn (MODEL 3.2, 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsys.domain.arrays import F32, I64
from recsys.domain.requests import Requests
from recsys.domain.ties import keyed
from recsys.towers.carry import carry
from recsys.towers.noise import Noise

IN_BATCH, UNIFORM, ARCHIVE = 11, 12, 13
"""Salts of the three kinds of draws."""


def generator(*keys: int) -> np.random.Generator:
    """Return a counter-based generator that depends on the keys alone: (seed, epoch, ...)."""
    words = np.array([int(keyed(*keys)), int(keyed(*keys, 1))], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=words))


@dataclass(frozen=True)
class Board:
    """Training requests on the training device: shelves and targets."""

    requests: Requests
    """The same on the host, where sizes are counted."""
    shelf_sale: Tensor
    """int64 [c]."""
    target_start: Tensor
    """int64 [r]: first cell of each request."""
    target_sale: Tensor
    """int64 [t]."""
    target_weight: Tensor
    """float32 [t]."""

    @classmethod
    def of(cls, requests: Requests, device: torch.device) -> Board:
        """Copy what planning reads to a device."""
        return cls(
            requests=requests,
            shelf_sale=torch.from_numpy(requests.shelf_sale.astype(np.int64)).to(device),
            target_start=torch.from_numpy(requests.target_ptr[:-1].copy()).to(device),
            target_sale=torch.from_numpy(requests.target_sale.astype(np.int64)).to(device),
            target_weight=torch.from_numpy(requests.target_weight).to(device),
        )

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.shelf_sale.device

    def draws(self, columns: int, rows: int) -> int:
        """Return how many targets each of some requests lends to so many columns, one at least.

        No more than a request of the training part has on average.
        """
        mean = len(self.target_sale) / max(len(self.requests), 1)
        return max(1, min(columns // max(rows, 1), int(mean)))

    def shelf(self, cell: Tensor) -> Tensor:
        """Return the sales in cells of the shelves, int64; beyond the end the last one."""
        return self.shelf_sale[cell.clamp(max=len(self.shelf_sale) - 1)]

    def cells(self, rows: I64) -> Cells:
        """Find the target cells of some requests (rows I64[n], on the host)."""
        counts = self.requests.target_ptr[rows + 1] - self.requests.target_ptr[rows]
        ptr = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        host = carry(np.stack((rows, counts, ptr[:-1])), self.device)
        row = torch.repeat_interleave(host[1], output_size=int(ptr[-1]))
        shift = self.target_start[host[0]] - host[2]
        return Cells(ptr, row, shift[row] + torch.arange(len(row), device=self.device), host[0])


@dataclass(frozen=True)
class Cells:
    """Targets of n requests."""

    ptr: I64
    """I64[n + 1], on the host."""
    row: Tensor
    """Request among the n, int64 [cells]."""
    cell: Tensor
    """Where it stands in the board, int64 [cells]."""
    request: Tensor
    """Row of each of the n requests, int64 [n]."""


@dataclass(frozen=True)
class TargetShare:
    """p_j: the expected weight of each sale among the targets of a group's requests."""

    keys: Tensor
    """group * num_sales + sale, ascending, int64 [k]."""
    share: Tensor
    """float32 [k]."""
    num_sales: int

    @classmethod
    def of(cls, requests: Requests, num_sales: int, device: torch.device) -> TargetShare:
        """Average the target weights over the requests of each group of the training part."""
        per_request = np.diff(requests.target_ptr)
        group = np.repeat(requests.group.astype(np.int64), per_request)
        keys, where = np.unique(group * num_sales + requests.target_sale, return_inverse=True)
        sums = np.bincount(where, weights=requests.target_weight, minlength=len(keys))
        sizes = np.bincount(requests.group, minlength=requests.num_groups)
        share = (sums / sizes[keys // num_sales]).astype(np.float32)
        return cls(torch.from_numpy(keys).to(device), torch.from_numpy(share).to(device), num_sales)

    def __call__(self, group: Tensor, sales: Tensor) -> Tensor:
        """Return p of sales in groups (int64, they broadcast); 0 where a sale is no target."""
        wanted = group * self.num_sales + sales
        if not len(self.keys):
            return torch.zeros(wanted.shape, device=wanted.device)
        at = torch.searchsorted(self.keys, wanted).clamp_(max=len(self.keys) - 1)
        return self.share.take(at) * (self.keys.take(at) == wanted)


def log_q(share: Tensor, *, in_batch: Tensor, uniform: int, eligible: Tensor) -> Tensor:
    """Return log(M * p_j + N / eligible): how many columns of a pool are expected to hold j.

    Each column gets the Q of all sources that could have drawn it, so that the pool estimates the
    full sum once. -inf where nothing could draw the sale.
    """
    return torch.log(in_batch * share + uniform / eligible.clamp(min=1))


def in_batch_targets(board: Board, rows: I64, *, times: I64, noise: Noise) -> Tensor:
    """Draw `times` I64[n] targets of each of n requests by their weights, sale rows int64 [sum].

    The draws of one request stand evenly apart, so that few are equal (systematic sampling); each
    target is expected times * weight among them. Every request needs a target.
    """
    cells = board.cells(rows)
    total = board.target_weight[cells.cell].double().cumsum(0)
    request = np.repeat(np.arange(len(rows)), times)
    number = np.arange(len(request)) - np.repeat(np.cumsum(times) - times, times)
    found = (cells.ptr[request], cells.ptr[request + 1] - 1, request, number, times[request])
    first, last, row, nth, of = carry(np.stack(found), total.device)
    before = torch.where(first > 0, total[(first - 1).clamp(min=0)], torch.zeros_like(total[:1]))
    share = (nth + noise.unit(IN_BATCH, cells.request[row])) / of
    wanted = before + share * (total[last] - before)
    drawn = torch.searchsorted(total, wanted, right=True)
    return board.target_sale[cells.cell[torch.clamp(drawn, first, last)]]


def archive_offset(launched: I64, shelf_size: I64, *, share: float, draws: int) -> tuple[I64, F32]:
    """Return draws and o_j for each of g decision times, I64[g] and F32[g].

    Draws come from the first `launched` sales by opening; none while nothing has closed.
    o_j = log(share / (1 - share) * |shelf| / closed) - log(draws / launched): the share wanted
    under equal scores, divided by the draws expected of each sale.
    """
    closed = launched - shelf_size
    some = (np.minimum(closed, shelf_size) > 0) & (share > 0) & (draws > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.log(share / (1 - share) * shelf_size / closed)
        offset = np.where(some, wanted - np.log(draws / launched), 0)
    return np.where(some, draws, 0).astype(np.int64), offset.astype(np.float32)


def ragged(ptr: I64, rows: I64) -> tuple[I64, I64]:
    """Return the pointers I64[rows + 1] and the cells I64[total] of some rows of a CSR array."""
    counts = ptr[rows + 1] - ptr[rows]
    starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    cells = np.repeat(ptr[rows] - starts[:-1], counts) + np.arange(starts[-1], dtype=np.int64)
    return starts, cells
