"""The targets of a step's rows, and the step cut into the blocks of its decision times."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recsys.towers.columns import Layout
from recsys.towers.negatives import Cells
from recsys.towers.softmax import Block, Targets


@dataclass(frozen=True)
class Mine:
    """The targets of this process's rows of a step."""

    cells: Cells
    slot: Tensor
    """Which group each row belongs to, int64 [rows]."""
    weight: Tensor
    """float32 [cells]."""

    def targets(
        self, layout: Layout, found: Tensor, *, column: Tensor, shift: Tensor | None
    ) -> Targets:
        """Return the targets of all rows; `found` int64 [cells] = their place among the columns."""
        slot = self.slot[self.cells.row]
        return Targets(
            ptr=self.cells.ptr,
            row=self.cells.row,
            column=column,
            own=layout.inside(slot, found),
            weight=self.weight,
            shift=torch.zeros_like(self.weight) if shift is None else shift,
        )


def blocks_of(
    heights: list[int], layout: Layout, offset: Tensor, *, targets: Targets, past: Tensor | None
) -> list[Block]:
    """Cut what holds for a step into its groups, of so many rows each."""
    blocks, row, column = [], 0, 0
    for height, width in zip(heights, layout.width.tolist(), strict=True):
        rows, columns = slice(row, row + height), slice(column, column + width)
        blocks.append(
            Block(
                rows=rows,
                columns=columns,
                offset=offset[columns],
                targets=targets.of(rows),
                past=None if past is None else past[rows],
            )
        )
        row, column = rows.stop, columns.stop
    return blocks
