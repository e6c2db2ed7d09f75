"""Batches as a pure function of (seed, epoch, step), and a step's tensors (MODEL 4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from recsys.domain.arrays import I64, Bool
from recsys.domain.requests import Requests
from recsys.towers.hidden import hidden, without
from recsys.towers.lately import Lately
from recsys.towers.losses import Ask, Planner
from recsys.towers.member import Asked
from recsys.towers.negatives import generator
from recsys.towers.noise import Noise
from recsys.towers.resident import Past, Resident
from recsys.towers.softmax import Block
from recsys.towers.spec import Causal, TwoTower
from recsys.towers.stretches import Cut
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
    part: tuple[int, int] = (0, 1)
    """Of whose stretches it asks: every so many, from this one on."""


@dataclass(frozen=True)
class Sampler:
    """Cuts the training requests into steps of about `groups_per_batch` chunks of one group.

    With a `cut` their product is how many requests a step has on average, at any times.
    """

    requests: Requests
    rows_per_group: int
    groups_per_batch: int
    seed: int
    cut: Cut | None = None
    """Where pasts are read together: a step takes whole stretches, whatever their times."""

    @classmethod
    def of(cls, requests: Requests, spec: TwoTower, seed: int, *, accumulate: int = 1) -> Sampler:
        """Use the batch of the settings, or a smaller one where an epoch had too few steps.

        A step is `accumulate` such batches.
        """
        groups = spec.groups_per_batch * accumulate
        fitting = len(requests) // (MIN_STEPS * groups)
        width = float(np.mean(requests.shelf_end - requests.shelf_start))
        wanted = spec.rows_per_group or (_FEW if width <= _SHORT_SHELF else _MANY)
        rows = min(wanted, max(_MIN_ROWS, fitting))
        return cls(requests, rows, groups, seed, cut_of(requests, spec))

    @property
    def steps(self) -> int:
        """Steps of an epoch: within one of what `epoch` returns, and the same each time."""
        if self.cut is not None:
            return -(-len(self.cut) // self.stretches(self.cut))
        per_step = self.rows_per_group * self.groups_per_batch
        return max(1, -(-len(self.requests) // per_step))

    def stretches(self, cut: Cut) -> int:
        """Stretches of a step: as many as hold its requests on average."""
        per_step = self.rows_per_group * self.groups_per_batch
        return max(1, per_step * len(cut) // max(1, len(self.requests)))

    def _whole_stretches(self, cut: Cut, rng: np.random.Generator) -> list[list[Chunk]]:
        """Deal the stretches to steps; a chunk is what a step asks of one decision time."""
        turn = np.empty(len(cut), dtype=np.int64)
        turn[rng.permutation(len(cut))] = np.arange(len(cut))
        step = turn[cut.of] // self.stretches(cut)
        order = np.lexsort((turn[cut.of], self.requests.group, step))
        key = step[order] * self.requests.num_groups + self.requests.group[order]
        chunks = np.split(order, np.flatnonzero(np.diff(key)) + 1)
        steps: list[list[Chunk]] = [[] for _ in range(self.steps)]
        for rows in chunks:
            steps[step[rows[0]]].append(Chunk(int(self.requests.group[rows[0]]), rows))
        return steps

    def epoch(self, epoch: int) -> list[list[Chunk]]:
        """Return the steps of an epoch; every request stands in exactly one."""
        rng = generator(self.seed, epoch)
        if self.cut is not None:
            return self._whole_stretches(self.cut, rng)
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


def cut_of(requests: Requests, spec: TwoTower) -> Cut | None:
    """Return the stretches that pasts are read in, or None where each is read apart.

    A step that hides events of a set asks each request for what its own past then lacks.
    """
    if not isinstance(spec.encoder, Causal) or requests.hidden_share:
        return None
    return Cut.of_requests(requests, length=spec.history)


def pieces(step: list[Chunk], number: int, *, whole: bool = False) -> list[list[Chunk]]:
    """Deal the chunks of a step into so many micro-steps; one left without has no row of its own.

    The columns of a chunk are a function of the chunk and the step, so the gradients of the pieces
    sum to that of the step. `whole` stretches are dealt, where pasts are read in them.
    """
    if whole:
        return [[replace(chunk, part=(n, number)) for chunk in step] for n in range(number)]
    idle = [Chunk(step[0].group, step[0].rows[:0])]
    return [step[first::number] or idle for first in range(number)]


@dataclass(frozen=True)
class Batch:
    """One step on the device: B requests of this process, U sales, V rows of v."""

    asked: Asked
    sales: I64
    """Rows of the sales that the step needs x of, I64[U], host."""
    event_place: Tensor
    """Where the sale of each event that is read stands among them, int64 [B or M, L]."""
    column_place: Tensor
    """The same for each row of v, int64 [V]."""
    as_of: Tensor
    """`Resident.as_of` of each row of v, float32 [V, A]."""
    blocks: list[Block]
    rows: int
    """Requests of the step over all processes and pieces: the loss is a mean over these."""


def _waits(device: torch.device) -> bool:
    """Tell whether the host waits for a device where the size of a result is not known before."""
    return device.type != "cpu"


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
    lately: Lately
    spec: TwoTower
    share: Share
    cut: Cut | None = None

    @classmethod
    def of(cls, resident: Resident, planner: Planner, spec: TwoTower, *, share: Share) -> Assembler:
        """Make ready for the decision times of the planner's requests."""
        instants = planner.requests.group_at
        return cls(
            resident,
            planner,
            Lately.of(resident, instants, spec.popularity_hours),
            spec,
            share,
            cut_of(planner.requests, spec),
        )

    def __call__(
        self, chunks: list[Chunk], key: tuple[int, int, int], *, rows: int | None = None
    ) -> Batch:
        """Gather a step, or a piece of one of `rows` requests; `key` = (seed, epoch, step).

        Nothing here waits for a GPU.
        """
        asks = [Ask(chunk.group, chunk.rows, chunk.rows[self._mine(chunk)]) for chunk in chunks]
        mine = np.concatenate([one.mine for one in asks])
        asked = ask(
            self.resident,
            past_of(self.planner.requests, mine),
            length=self.spec.history,
            request=mine,
        )
        noise, share = Noise.of(*key), self.planner.requests.hidden_share
        # what is hidden stays no negative
        columns = self.planner(asks, asked.window, noise)
        if share:
            gone = hidden(share, asked.request[:, None], asked.window.sale, noise=noise)
            asked = replace(asked, window=without(asked.window, gone))
        if self.cut is not None:
            stretches = self.cut.carried(self.planner.requests, mine, self.resident)
            asked = replace(asked, stretches=stretches)
        sales, place = self._places(asked.read.sale, columns.sales)
        return Batch(
            asked=asked,
            sales=sales,
            event_place=place.take(asked.read.sale),
            column_place=place.take(columns.sales),
            as_of=self.lately(columns.sales, columns.group),
            blocks=columns.blocks,
            rows=sum(len(chunk.rows) for chunk in chunks) if rows is None else rows,
        )

    def _mine(self, chunk: Chunk) -> slice | Bool:
        """Tell which rows of a chunk this process computes: whole stretches where there are any."""
        rank, world = self.share.rank, self.share.world
        if self.cut is None:
            return slice(rank, None, world)
        piece, number = chunk.part
        mine: Bool = self.cut.of[chunk.rows] % (world * number) == rank + world * piece
        return mine

    def _places(self, events: Tensor, columns: Tensor) -> tuple[I64, Tensor]:
        """Return the sales a step needs and, for every sale, its place among them.

        On a GPU the whole catalogue while it is small: finding the distinct ones would wait.
        """
        total, device = self.resident.num_sales, self.resident.device
        if _waits(device) and total <= max(events.numel() // 4, 1):
            return np.arange(total), torch.arange(total, device=device)
        needed = torch.zeros(total, dtype=torch.bool, device=device)
        needed[events] = True
        needed[columns] = True
        return needed.nonzero()[:, 0].cpu().numpy(), needed.cumsum(0) - 1
