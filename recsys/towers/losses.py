"""A loss is a choice of columns: which sales, with which offset, masked for whom (MODEL 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import numpy as np

from recsys.domain.arrays import F32, I64
from recsys.domain.events import Events
from recsys.domain.requests import Requests
from recsys.towers.negatives import (
    TargetShare,
    archive,
    generator,
    in_batch_targets,
    log_q,
    ragged,
)
from recsys.towers.spec import AutoLoss, Full, LiveShelf, Sampled, TwoTower


@dataclass(frozen=True)
class Pairs:
    """(row, column) pairs: row i owns cells [ptr[i], ptr[i + 1])."""

    ptr: I64
    row: I64
    column: I64


@dataclass(frozen=True)
class Columns:
    """What the n rows of a block are compared with, on the host."""

    sales: I64
    """Sale row of each column, I64[C]."""
    offset: F32
    """o_j, F32[C]; -inf = never a negative, only somebody's positive."""
    targets: Pairs
    weight: F32
    """w_bp of each target, F32[targets]."""
    shift: F32
    """-log Q of each target (classic), or 0, F32[targets]."""
    masked: Pairs
    """Columns of any source that hold a positive of the row, or a sale of its own past."""


def depth(offset: F32, top_k: int) -> int:
    """Return how many columns, at most, a row goes down to pass K sales; 0 where K is 0.

    Column j stands for exp(o_j) sales; the worst row has those that stand for least in front.
    """
    if not top_k:
        return 0
    passed = np.cumsum(np.sort(np.exp(offset.astype(np.float64))))
    return min(int(np.searchsorted(passed, top_k)) + 1, len(offset))


@dataclass(frozen=True)
class Ask:
    """One decision time of one step: its rows over all processes, and those of this one."""

    group: int
    rows: I64
    mine: I64
    key: tuple[int, int, int]
    """(seed, epoch, step)."""


Concrete = LiveShelf | Sampled | Full


def resolve(towers: TwoTower, requests: Requests, task: str) -> Concrete:
    """Turn `loss.kind=auto` into a loss: live shelf, full, or sampled where shelves are long."""
    loss = towers.loss
    if not isinstance(loss, AutoLoss):
        return loss
    if task == "shelf":
        return LiveShelf()
    longest = int((requests.shelf_end - requests.shelf_start).max(initial=0))
    return Full() if longest <= loss.full_up_to else Sampled()


@dataclass(frozen=True)
class Planner:
    """Plans the columns of blocks of training requests."""

    requests: Requests
    loss: Concrete
    opens_at: I64
    history: Events
    window: int
    """Events of a member's past that are kept from being archive negatives."""
    share: TargetShare

    @classmethod
    def of(
        cls, requests: Requests, loss: Concrete, *, opens_at: I64, history: Events, window: int
    ) -> Planner:
        """Count the targets once, over the training part."""
        share = TargetShare.of(requests, len(opens_at))
        return cls(requests, loss, opens_at, history, window, share)

    def __call__(self, ask: Ask) -> Columns:
        """Return the columns of a block; a pure function of what is asked."""
        match self.loss:
            case LiveShelf():
                return self._live_shelf(ask, self.loss)
            case Sampled():
                return self._sampled(ask, self.loss)
            case Full():
                return self._live_shelf(ask, LiveShelf(archive_draws=0))
            case _:
                assert_never(self.loss)

    def _live_shelf(self, ask: Ask, loss: LiveShelf) -> Columns:
        shelf = self.requests.shelf(ask.group).astype(np.int64)
        at = self.requests.group_at[ask.group]
        drawn = archive(
            int(np.searchsorted(self.opens_at, at, side="right")),
            len(shelf),
            share=loss.archive_share,
            draws=loss.archive_draws,
            rng=generator(*ask.key, ask.group),
        )
        offset = np.zeros(len(shelf) + len(drawn.sales), dtype=np.float32)
        # a draw that is on the shelf stands there already
        on_shelf = np.isin(drawn.sales, shelf)
        offset[len(shelf) :] = np.where(on_shelf, -np.inf, drawn.offset)
        sales = np.concatenate((shelf, drawn.sales))
        targets, cells = self._targets(ask.mine, shelf)
        past = _pairs_of(*self._past(ask.mine), drawn.sales, first=len(shelf))
        return Columns(
            sales=sales,
            offset=offset,
            targets=targets,
            weight=self.requests.target_weight[cells],
            shift=np.zeros(len(cells), dtype=np.float32),
            masked=_join(targets, past),
        )

    def _sampled(self, ask: Ask, loss: Sampled) -> Columns:
        rng = generator(*ask.key, ask.group)
        shelf = self.requests.shelf(ask.group)
        neighbours = ask.rows[: loss.in_batch]
        in_batch = in_batch_targets(self.requests, neighbours, rng=rng)
        uniform = shelf[rng.integers(0, len(shelf), size=loss.uniform)].astype(np.int64)
        pool = np.concatenate((in_batch, uniform))
        ptr, cells = ragged(self.requests.target_ptr, ask.mine)
        wanted = self.requests.target_sale[cells].astype(np.int64)
        own = np.unique(wanted)
        sales = np.concatenate((pool, own))
        log_of = self._log_q(ask.group, sales, loss, drawn=(len(neighbours), len(shelf)))
        offset = -log_of
        offset[len(pool) :] = -np.inf
        column = len(pool) + np.searchsorted(own, wanted)
        row = np.repeat(np.arange(len(ask.mine)), np.diff(ptr))
        return Columns(
            sales=sales,
            offset=offset,
            targets=Pairs(ptr, row, column),
            weight=self.requests.target_weight[cells],
            shift=-log_of[column] * np.float32(loss.logq == "classic"),
            masked=_pairs_of(ptr, wanted, pool, first=0),
        )

    def _log_q(self, group: int, sales: I64, loss: Sampled, *, drawn: tuple[int, int]) -> F32:
        if loss.logq == "off":
            return np.zeros(len(sales), dtype=np.float32)
        return log_q(
            self.share(group, sales), in_batch=drawn[0], uniform=loss.uniform, eligible=drawn[1]
        )

    def _targets(self, rows: I64, shelf: I64) -> tuple[Pairs, I64]:
        """Return where the targets of rows stand on the shelf, and their cells."""
        ptr, cells = ragged(self.requests.target_ptr, rows)
        order = np.argsort(shelf, kind="stable")
        place = np.searchsorted(shelf, self.requests.target_sale[cells], sorter=order)
        row = np.repeat(np.arange(len(rows)), np.diff(ptr))
        return Pairs(ptr, row, order[place]), cells

    def _past(self, rows: I64) -> tuple[I64, I64]:
        """Return the sales in the window of each row's past: pointers and sale rows."""
        end = self.requests.history_end[rows]
        start = np.maximum(self.history.member_ptr[self.requests.member[rows]], end - self.window)
        ptr = np.concatenate(([0], np.cumsum(end - start)))
        cells = np.repeat(start - ptr[:-1], end - start) + np.arange(ptr[-1])
        return ptr, self.history.sale[cells].astype(np.int64)


def _pairs_of(ptr: I64, sales: I64, columns: I64, *, first: int) -> Pairs:
    """Return all (row, first + place in `columns`) where a row's sale stands in `columns`."""
    row = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    order = np.argsort(columns, kind="stable")
    low = np.searchsorted(columns, sales, side="left", sorter=order)
    count = np.searchsorted(columns, sales, side="right", sorter=order) - low
    ends = np.cumsum(count)
    place = np.arange(ends[-1] if len(ends) else 0) + np.repeat(low - ends + count, count)
    pair_row = np.repeat(row, count)
    new_ptr = np.searchsorted(pair_row, np.arange(len(ptr)))
    return Pairs(new_ptr, pair_row, first + order[place])


def _join(one: Pairs, other: Pairs) -> Pairs:
    """Merge the pairs of two sources, row by row."""
    row = np.concatenate((one.row, other.row))
    order = np.argsort(row, kind="stable")
    return Pairs(one.ptr + other.ptr, row[order], np.concatenate((one.column, other.column))[order])
