"""Features as one vector: bags over the shared table, numbers, the own vector (MODEL 2.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, embedding_bag

from recsys.towers.gathered import Bags, bagged, gathered
from recsys.towers.noise import Noise
from recsys.towers.resident import Bag
from recsys.towers.spec import TwoTower

START = 0.1
"""Length of the vector of one value, or of all numbers together, before training."""


def clip_length(vectors: Tensor, longest: Tensor) -> Tensor:
    """Shorten rows [n, D] that are longer than `longest` [n, 1]; the others stay."""
    lengths = vectors.norm(dim=1, keepdim=True)
    factor: Tensor = (longest / lengths.clamp(min=1e-12)).clamp(max=1.0)
    return vectors * factor


def by_rows(table: Tensor, spec: TwoTower) -> bool:
    """Tell whether a table [R, D] is so large that only the rows a step touches are updated."""
    return len(table) > spec.rows_above


def linear(numbers: int, dim: int, *, start: float) -> nn.Linear:
    """Return a map of standardised numbers to vectors that are `start` long before training."""
    made = nn.Linear(numbers, dim, bias=False)
    nn.init.normal_(made.weight, std=start / (numbers * dim) ** 0.5)
    return made


class BagInput(nn.Module):
    """Bag and numbers of members or sales as one vector of width D."""

    def __init__(self, *, fields: int, dense: int, spec: TwoTower, start: float = START) -> None:
        """Start with equal fields, each `start` long, and all numbers together as one of them."""
        super().__init__()
        self.spec = spec
        self.scale = nn.Parameter(torch.full((fields,), start / START))
        self.dense = linear(dense, spec.dim, start=start) if dense else None

    def forward(
        self, table: Tensor, bag: Bag, rows: Tensor, *, cells: int, keep: Tensor | None
    ) -> Tensor:
        """Return sum_f s_f sum_v E[row] weight + W dense, [rows, D].

        `table` [R, D]; `rows` int64; `cells` = values that the rows own in all; `keep`
        bool [rows, fields]: False puts the field's missing row in its place.
        """
        first = bag.start.index_select(0, rows)
        counts = bag.start.index_select(0, rows + 1) - first
        start = counts.cumsum(0) - counts
        owner = torch.arange(len(rows), device=rows.device)
        owner = torch.repeat_interleave(owner, counts, output_size=cells)
        cell = (first - start).index_select(0, owner) + torch.arange(cells, device=rows.device)
        field = bag.field.index_select(0, cell)
        # an index here would add up its gradient in no fixed order
        weight = bag.weight.index_select(0, cell) * gathered(field, self.scale[:, None])[:, 0]
        if keep is not None:
            shown = keep.flatten().index_select(0, owner * keep.shape[1] + field)
            weight = weight * shown
        row = bag.row.index_select(0, cell)
        bags = Bags(row, start.to(row.dtype), owner)
        if by_rows(table, self.spec):
            total = embedding_bag(
                row, table, bags.start, mode="sum", per_sample_weights=weight, sparse=True
            )
        else:
            total = bagged(bags, table, weight)
        if keep is not None:
            missing = embedding(bag.missing, table, sparse=by_rows(table, self.spec))
            missing = missing * self.scale[:, None]
            total = total + (~keep).to(total.dtype) @ missing
        if self.dense is not None:
            total = total + self.dense(bag.dense.index_select(0, rows))
        return total


class SaleInput(nn.Module):
    """x of sales: content z and, within bounds, the own vector; for candidates and history."""

    known: Tensor
    """k_i: 1 where a sale was a target often enough for its own vector to count, float [S]."""

    def __init__(self, spec: TwoTower, *, fields: int, dense: int, sales: int) -> None:
        """Make a table of own vectors: zero where content speaks, noise where it cannot."""
        super().__init__()
        self.spec = spec
        self.content = BagInput(fields=fields, dense=dense, spec=spec)
        self.own: nn.Parameter | None = None
        # a share of a content that is not there would be nothing
        blank = spec.id == "auto" and not fields + dense
        self.bounded = spec.id in {"auto", "bounded"} and not blank
        if spec.id != "off":
            start = torch.zeros(sales, spec.dim)
            if not self.bounded:
                start.normal_(std=START / spec.dim**0.5)
            self.own = nn.Parameter(start)
        self.register_buffer("known", torch.zeros(sales))

    def forward(
        self, table: Tensor, bag: Bag, rows: Tensor, *, cells: int, noise: Noise | None
    ) -> tuple[Tensor, Tensor]:
        """Return z and x of sales, both [rows, D]; `noise` = None outside training."""
        keep = None
        if noise is not None and self.spec.field_dropout:
            fields = torch.arange(len(bag.missing), device=rows.device)
            keep = noise.keep(self.spec.field_dropout, 1, rows[:, None], fields)
        z = self.content(table, bag, rows, cells=cells, keep=keep)
        if self.own is None:
            return z, z
        own = embedding(rows, self.own, sparse=by_rows(self.own, self.spec))
        if self.bounded:
            own = clip_length(own, self.spec.delta * z.detach().norm(dim=1, keepdim=True))
        if noise is None:
            own = own * self.known[rows, None]
        elif self.spec.id_dropout:
            own = own * noise.keep(self.spec.id_dropout, 2, rows).float()[:, None]
        return z, z + own
