"""Rows of a table by number, and bags of them, with gradients that add up quickly on a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding, embedding_bag


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


@dataclass(frozen=True)
class Bags:
    """The rows of a table that each of n bags holds, k in all."""

    row: Tensor
    """int32 or int64 [k], bag after bag."""
    start: Tensor
    """Where each bag begins, of the type of `row` [n]."""
    owner: Tensor
    """The bag of each row, int64 [k]."""


def bagged(bags: Bags, table: Tensor, weight: Tensor) -> Tensor:
    """Return the sum of the weighted (`weight` [k]) rows of `table` [R, D] of each bag, [n, D].

    The gradient of the table adds up in the order of the bags, the same bits each time: as bags
    of the owners' gradients, one for each row, in a quarter of torch's time (docs/log.md).
    """
    if table.device.type != "cpu" or not table.requires_grad:
        return embedding_bag(bags.row, table, bags.start, mode="sum", per_sample_weights=weight)
    made: Tensor = _Bagged.apply(bags, table, weight)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return made


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


class _Bagged(torch.autograd.Function):
    """Bags whose table's gradient is made of bags too."""

    @staticmethod
    def forward(ctx: Any, *operands: Any) -> Tensor:
        """Return the sums of (bags, table, weight)."""
        ctx.bags, table, weight = operands
        ctx.save_for_backward(weight)
        ctx.rows = len(table)
        # what the weights get is torch's own matter
        with torch.enable_grad():
            ctx.own = weight.detach().requires_grad_()
            ctx.total = embedding_bag(
                ctx.bags.row,
                table.detach(),
                ctx.bags.start,
                mode="sum",
                per_sample_weights=ctx.own,
            )
        total: Tensor = ctx.total.detach()
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of the table and of the weights."""
        (weight,), bags = ctx.saved_tensors, ctx.bags
        (of_weight,) = torch.autograd.grad(ctx.total, ctx.own, grads[0], retain_graph=True)
        order = torch.argsort(bags.row, stable=True)
        counts = torch.bincount(bags.row, minlength=ctx.rows)
        of_table = embedding_bag(
            bags.owner.index_select(0, order),
            grads[0],
            counts.cumsum(0) - counts,
            mode="sum",
            per_sample_weights=weight.index_select(0, order),
        )
        return None, of_table, of_weight
