"""Rows of a table by number, with a gradient that adds up quickly on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding


def gathered(index: Tensor, table: Tensor) -> Tensor:
    """Return rows of `table` [R, D] by `index` (int64, any shape), [*index.shape, D].

    The gradient adds up in the order of the index, as that of an embedding does, to the same bits.
    An embedding's walks all rows of the table: on a CPU this one takes 0.7 of its time for 64
    coordinates and a fifteenth for one or two. On a GPU its sums would have no fixed order.
    """
    if table.device.type != "cpu" or not table.requires_grad:
        return embedding(index, table)
    found: Tensor = _Gathered.apply(index, table)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return found


class _Gathered(torch.autograd.Function):
    """An embedding whose gradient adds up by `index_add_`."""

    @staticmethod
    def forward(ctx: Any, *operands: Any) -> Tensor:
        """Return rows of (index, table)."""
        index, table = operands
        ctx.save_for_backward(index)
        ctx.shape = table.shape
        return embedding(index, table)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[None, Tensor]:
        """Return the gradient of the table."""
        (index,) = ctx.saved_tensors
        total = grads[0].new_zeros(ctx.shape)
        return None, total.index_add_(0, index.flatten(), grads[0].reshape(-1, ctx.shape[1]))
