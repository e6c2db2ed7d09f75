"""Batches as a pure function of (seed, epoch, step), and a step's tensors (MODEL 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsys.domain.arrays import I64
from recsys.domain.requests import Requests
from recsys.towers.losses import Ask, Columns, Pairs, Planner, depth
from recsys.towers.member import Asked
from recsys.towers.negatives import generator
from recsys.towers.resident import Past, Resident
from recsys.towers.softmax import Block, Positives
from recsys.towers.spec import TwoTower
from recsys.towers.two_tower import ask

MIN_STEPS = 20
"""Steps of an epoch below which batches shrink, so that small sets are learned too."""
_MIN_ROWS = 16


@dataclass(frozen=True)
class Share:
    """Which rows of each batch a process computes: rank, rank + world, ..."""

    rank: int = 0
    world: int = 1


_SHORT_SHELF = 1_000
_FEW, _MANY = 32, 512
"""Small steps rank new sales better (docs/log.md); the cost of a long shelf asks for large ones."""


@dataclass(frozen=True)
class Chunk:
    """Some requests of one decision time, in random order."""

    group: int
    rows: I64


@dataclass(frozen=True)
class Sampler:
    """Cuts the training requests into steps of about `groups_per_batch` chunks of one group."""

    requests: Requests
    rows_per_group: int
    groups_per_batch: int
    seed: int

    @classmethod
    def of(cls, requests: Requests, spec: TwoTower, seed: int) -> Sampler:
        """Use the batch of the settings, or a smaller one where an epoch had too few steps."""
        fitting = len(requests) // (MIN_STEPS * spec.groups_per_batch)
        width = float(np.mean(requests.shelf_end - requests.shelf_start))
        wanted = spec.rows_per_group or (_FEW if width <= _SHORT_SHELF else _MANY)
        rows = min(wanted, max(_MIN_ROWS, fitting))
        return cls(requests, rows, spec.groups_per_batch, seed)

    @property
    def steps(self) -> int:
        """Steps of an epoch: within one of what `epoch` returns, and the same each time."""
        per_step = self.rows_per_group * self.groups_per_batch
        return max(1, -(-len(self.requests) // per_step))

    def epoch(self, epoch: int) -> list[list[Chunk]]:
        """Return the steps of an epoch; every request stands in exactly one."""
        rng = generator(self.seed, epoch)
        group = self.requests.group
        # shuffled inside each group
        order = np.lexsort((rng.random(len(group)), group)).astype(np.int64)
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        in_group = np.arange(len(group)) - np.repeat(starts, np.diff(starts, append=len(group)))
        first = np.flatnonzero(in_group % self.rows_per_group == 0)
        last = np.append(first[1:], len(group))
        shuffled = rng.permutation(len(first))
        before = np.cumsum((last - first)[shuffled]) - (last - first)[shuffled]
        per_step = self.rows_per_group * self.groups_per_batch
        steps: list[list[Chunk]] = [[] for _ in range(self.steps)]
        for chunk, start in zip(shuffled.tolist(), before.tolist(), strict=True):
            rows = order[first[chunk] : last[chunk]]
            steps[start // per_step].append(Chunk(int(group[rows[0]]), rows))
        return [step for step in steps if step]


@dataclass(frozen=True)
class Batch:
    """One step on the device: B requests of this process, U sales, columns of all blocks."""

    asked: Asked
    sales: I64
    """Rows of the sales that the step needs x of, I64[U], host."""
    event_place: Tensor
    """Where each event's sale stands among them, int64 [B, L]."""
    column_place: Tensor
    """The same for each column, int64 [columns]."""
    as_of: Tensor
    """`Resident.as_of` of each column, float32 [columns, A]."""
    blocks: list[Block]
    rows: int
    """Requests of the step over all processes: the loss is a mean over these."""


def past_of(requests: Requests, rows: I64 | slice) -> Past:
    """Return the pasts of some requests."""
    return Past(
        member=requests.member[rows].astype(np.int64),
        end=requests.history_end[rows],
        at=requests.at[rows],
    )


@dataclass(frozen=True)
class Assembler:
    """Turns chunks into batches on a device."""

    resident: Resident
    planner: Planner
    spec: TwoTower
    share: Share

    def __call__(self, chunks: list[Chunk], key: tuple[int, int, int]) -> Batch:
        """Gather a step; `key` = (seed, epoch, step)."""
        requests = self.planner.requests
        mine = [chunk.rows[self.share.rank :: self.share.world] for chunk in chunks]
        plans = [
            self.planner(Ask(chunk.group, chunk.rows, own, key))
            for chunk, own in zip(chunks, mine, strict=True)
        ]
        rows = np.concatenate(mine)
        asked = ask(
            self.resident,
            past_of(requests, rows),
            length=self.spec.history,
            request=rows,
        )
        column_sale = np.concatenate([plan.sales for plan in plans])
        at = np.concatenate([
            np.full(len(p.sales), requests.group_at[c.group])
            for c, p in zip(chunks, plans, strict=True)
        ])
        as_of = self.resident.as_of(column_sale, at, hours=self.spec.popularity_hours)
        sales, place = self._places(asked.window.sale, column_sale)
        device = self.resident.device
        return Batch(
            asked=asked,
            sales=sales,
            event_place=place[asked.window.sale],
            column_place=place[torch.from_numpy(column_sale).to(device)],
            as_of=torch.from_numpy(as_of).to(device),
            blocks=_blocks(plans, mine, device, top_k=self.spec.top_k),
            rows=sum(len(chunk.rows) for chunk in chunks),
        )

    def _places(self, events: Tensor, columns: I64) -> tuple[I64, Tensor]:
        """Return the sales a step needs and, for every sale, its place among them.

        On a GPU the whole catalogue while it is small: finding the distinct ones would wait.
        """
        total, device = self.resident.num_sales, self.resident.device
        if device.type != "cpu" and total <= max(events.numel() // 4, 1):
            return np.arange(total), torch.arange(total, device=device)
        needed = np.zeros(total, dtype=np.bool_)
        needed[events.cpu().numpy().ravel()] = True
        needed[columns] = True
        return np.flatnonzero(needed), torch.from_numpy(np.cumsum(needed) - 1).to(device)


def _blocks(
    plans: list[Columns], mine: list[I64], device: torch.device, *, top_k: int
) -> list[Block]:
    blocks, row, column = [], 0, 0
    for plan, own in zip(plans, mine, strict=True):
        rows, columns = slice(row, row + len(own)), slice(column, column + len(plan.sales))
        blocks.append(
            Block(
                rows=rows,
                columns=columns,
                offset=torch.from_numpy(plan.offset).to(device),
                targets=_positives(plan.targets, device),
                weight=torch.from_numpy(plan.weight).to(device),
                shift=torch.from_numpy(plan.shift).to(device),
                masked=_positives(plan.masked, device),
                deep=depth(plan.offset, top_k),
            )
        )
        row, column = rows.stop, columns.stop
    return blocks


def _positives(pairs: Pairs, device: torch.device) -> Positives:
    host = torch.from_numpy(np.stack((pairs.row, pairs.column))).to(device)
    return Positives(ptr=pairs.ptr, row=host[0], column=host[1])
