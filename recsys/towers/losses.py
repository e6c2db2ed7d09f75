"""A loss is a choice of columns: which sales, with which offset, masked for whom (MODEL 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsys.domain.arrays import I64
from recsys.domain.errors import SettingError
from recsys.domain.requests import Requests
from recsys.towers import laws
from recsys.towers.asked_targets import Mine, blocks_of
from recsys.towers.carry import carry
from recsys.towers.choice import Choice
from recsys.towers.columns import Layout, Places
from recsys.towers.hidden import hidden, reweighted
from recsys.towers.negatives import (
    ARCHIVE,
    UNIFORM,
    Board,
    TargetShare,
    archive_offset,
    generator,
    in_batch_targets,
    log_q,
)
from recsys.towers.noise import Noise
from recsys.towers.resident import Window
from recsys.towers.softmax import Block
from recsys.towers.spec import AutoLoss, Full, LiveShelf, Sampled, TwoTower


@dataclass(frozen=True)
class Ask:
    """One decision time of one step: its rows over all processes, and those of this one."""

    group: int
    rows: I64
    mine: I64


@dataclass(frozen=True)
class Columns:
    """What a step's requests are compared with: the columns of all blocks, one after the other."""

    sales: Tensor
    """Sale row of each row of v, int64 [V]; targets that are no block's column come last."""
    group: Tensor
    """Whose decision time each is seen from, int64 [V]."""
    blocks: list[Block]


Concrete = LiveShelf | Sampled | Full | Choice


def resolve(towers: TwoTower, requests: Requests, task: str) -> Concrete:
    """Turn `loss.kind=auto` into a loss: live shelf, full, or sampled where shelves are long.

    Raises:
        SettingError: a loss of an installed package breaks a public law.
    """
    loss: Concrete | AutoLoss = towers.loss
    if not isinstance(loss, AutoLoss):
        fault = "" if isinstance(loss, LiveShelf | Sampled | Full) else laws.broken(loss)
        if fault:
            raise SettingError(f"{loss.kind!r} breaks a law of recsys.towers.laws: {fault}")
        return loss
    if task == "shelf":
        return LiveShelf()
    longest = int((requests.shelf_end - requests.shelf_start).max(initial=0))
    return Full() if longest <= loss.full_up_to else Sampled()


@dataclass(frozen=True)
class Planner:
    """Plans the columns of steps of training requests, on the training device."""

    board: Board
    loss: Concrete
    opens_at: I64
    share: TargetShare
    whole: bool = False
    """Steps take whole stretches: the rows of a chunk are not drawn one by one."""

    @classmethod
    def of(
        cls,
        requests: Requests,
        loss: Concrete,
        *,
        opens_at: I64,
        device: torch.device,
        whole: bool = False,
    ) -> Planner:
        """Count the targets once, over the training part."""
        share = TargetShare.of(requests, len(opens_at), device)
        return cls(Board.of(requests, device), loss, opens_at, share, whole)

    @property
    def requests(self) -> Requests:
        """The requests that are planned for."""
        return self.board.requests

    def __call__(self, asks: list[Ask], window: Window, noise: Noise) -> Columns:
        """Return the columns of a step; a pure function of what is asked.

        `window` is that of all `mine` of the asks, in their order.
        """
        match self.loss:
            case Sampled():
                return self._sampled(asks, self.loss, window, noise=noise)
            case Full():
                return self._live_shelf(asks, LiveShelf(archive_draws=0), window, noise=noise)
            case LiveShelf():
                return self._live_shelf(asks, self.loss, window, noise=noise)
            case _:
                return self._chosen(asks, self.loss, window, noise=noise)

    def _live_shelf(
        self, asks: list[Ask], loss: LiveShelf, window: Window, *, noise: Noise
    ) -> Columns:
        requests, board = self.requests, self.board
        groups = np.array([ask.group for ask in asks])
        launched = np.searchsorted(self.opens_at, requests.group_at[groups], side="right")
        size = requests.shelf_end[groups] - requests.shelf_start[groups]
        draws, each = archive_offset(
            launched, size, share=loss.archive_share, draws=loss.archive_draws
        )
        layout = Layout.of(requests, groups, size + draws, device=board.device)
        drawn = layout.within >= layout.length[layout.slot]
        limit = carry(launched, board.device)[layout.slot]
        older = noise.below(limit, ARCHIVE, layout.group[layout.slot], layout.within)
        sales = torch.where(drawn, older, board.shelf(layout.start[layout.slot] + layout.within))
        places = Places.of(layout, sales, drawn, num_sales=self.num_sales)
        # what is on the shelf stands there whole, and no draw of it counts again
        wanted = carry(each, board.device)[layout.slot]
        archived = places.offset(layout, sales, wanted)
        mine = self._mine(asks, noise)
        found = places.find(mine.slot[mine.cells.row], board.target_sale[mine.cells.cell])
        return Columns(
            sales,
            layout.group[layout.slot],
            blocks_of(
                [len(ask.mine) for ask in asks],
                layout,
                torch.where(drawn, archived, 0.0),
                targets=mine.targets(layout, found, column=found, shift=None),
                past=self._past(layout, places, mine, window=window),
            ),
        )

    def _sampled(self, asks: list[Ask], loss: Sampled, window: Window, *, noise: Noise) -> Columns:
        requests, board = self.requests, self.board
        groups = np.array([ask.group for ask in asks])
        neighbours = [self._neighbours(ask, loss.in_batch, noise) for ask in asks]
        each = [board.draws(loss.in_batch, len(rows)) for rows in neighbours]
        times = np.repeat(each, [len(rows) for rows in neighbours])
        taken = np.array([n * len(rows) for n, rows in zip(each, neighbours, strict=True)])
        layout = Layout.of(requests, groups, taken + loss.uniform, device=board.device)
        host = np.stack((taken, np.cumsum(taken) - taken))
        many, first = carry(host, board.device)[:, layout.slot]
        picked = in_batch_targets(board, np.concatenate(neighbours), times=times, noise=noise)
        length, group = layout.length[layout.slot], layout.group[layout.slot]
        draw = layout.start[layout.slot] + noise.below(length, UNIFORM, group, layout.within)
        sales = board.shelf(draw)
        if len(picked):
            here = (first + layout.within).clamp_(max=len(picked) - 1)
            sales = torch.where(layout.within < many, picked[here], sales)
        places = Places.of(
            layout, sales, torch.ones_like(sales, dtype=torch.bool), num_sales=self.num_sales
        )
        mine = self._mine(asks, noise)
        slot = mine.slot[mine.cells.row]
        wanted = board.target_sale[mine.cells.cell]
        every = torch.cat((sales, wanted))
        slots = torch.cat((layout.slot, slot))
        likely = torch.zeros(len(every), device=board.device)
        if loss.logq != "off":
            likely = log_q(
                self.share(layout.group[slots], every),
                in_batch=carry(taken, board.device)[slots],
                uniform=loss.uniform,
                eligible=layout.length[slots],
            )
        columns = len(sales)
        place = torch.arange(columns, len(every), device=board.device)
        shift = -likely[columns:] if loss.logq == "classic" else None
        return Columns(
            every,
            layout.group[slots],
            blocks_of(
                [len(ask.mine) for ask in asks],
                layout,
                places.offset(layout, sales, -likely[:columns]),
                targets=mine.targets(layout, places.find(slot, wanted), column=place, shift=shift),
                past=self._past(layout, places, mine, window=window),
            ),
        )

    def _neighbours(self, ask: Ask, most: int, noise: Noise) -> I64:
        """Return the requests that lend columns: rows of the chunk, where chance put them there.

        A stretch brings all requests of its member, whose own targets would come far more often
        than Q says: then they are drawn from all requests of the decision time.
        """
        if not self.whole:
            return ask.rows[:most]
        every = self.requests.rows(ask.group)
        drawn = generator(noise.key, ask.group).integers(every.start, every.stop, most)
        return drawn[: len(ask.rows)]

    def _chosen(self, asks: list[Ask], loss: Choice, window: Window, *, noise: Noise) -> Columns:
        requests, board = self.requests, self.board
        groups = np.array([ask.group for ask in asks])
        size = requests.shelf_end[groups] - requests.shelf_start[groups]
        layout = Layout.of(requests, groups, loss.width(size), device=board.device)
        place = loss.places(layout, noise).clamp(min=0)
        place = torch.minimum(place, layout.length[layout.slot] - 1)
        sales = board.shelf(layout.start[layout.slot] + place)
        every = torch.ones_like(sales, dtype=torch.bool)
        places = Places.of(layout, sales, every, num_sales=self.num_sales)
        offset = places.offset(layout, sales, -loss.log_q(layout))
        mine = self._mine(asks, noise)
        slot, wanted = mine.slot[mine.cells.row], board.target_sale[mine.cells.cell]
        column = torch.arange(len(sales), len(sales) + len(wanted), device=board.device)
        found = places.find(slot, wanted)
        return Columns(
            torch.cat((sales, wanted)),
            layout.group[torch.cat((layout.slot, slot))],
            blocks_of(
                [len(ask.mine) for ask in asks],
                layout,
                offset,
                targets=mine.targets(layout, found, column=column, shift=None),
                past=self._past(layout, places, mine, window=window),
            ),
        )

    def _past(self, layout: Layout, places: Places, mine: Mine, *, window: Window) -> Tensor | None:
        """Return where sales of each row's window stand that are no negatives of it [rows, L].

        All of them where seen sales are never ranked; else those of the archive, for a sale on the
        shelf may be chosen again. None = there are none.
        """
        everywhere = self.requests.exclude_seen
        if not everywhere and not isinstance(self.loss, LiveShelf):
            return None
        slot = mine.slot[:, None]
        found = places.find(slot, window.sale)
        seen = window.valid
        if not everywhere:
            seen = seen & (found - layout.first[slot] >= layout.length[slot])
        return layout.inside(slot, torch.where(seen, found, places.columns))

    @property
    def num_sales(self) -> int:
        """Count the sales."""
        return self.share.num_sales

    def _mine(self, asks: list[Ask], noise: Noise) -> Mine:
        board, share = self.board, self.requests.hidden_share
        slot = np.repeat(np.arange(len(asks)), [len(ask.mine) for ask in asks])
        cells = board.cells(np.concatenate([ask.mine for ask in asks]))
        weight = board.target_weight[cells.cell]
        if share:
            request = cells.request[cells.row]
            asked = hidden(share, request, board.target_sale[cells.cell], noise=noise)
            weight = reweighted(weight, asked, row=cells.row, rows=len(slot))
        return Mine(cells, carry(slot, board.device), weight)
