"""Softmax over negatives in row chunks, with its gradients made in the forward pass (MODEL 3.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from recsys.domain.arrays import I64


@dataclass(frozen=True)
class Positives:
    """Which columns are a row's own: row i of the block owns cells [ptr[i], ptr[i + 1])."""

    ptr: I64
    """I64[n + 1], on the host, so that no chunk waits for the device."""
    row: Tensor
    """Row within the block, int64 [cells]."""
    column: Tensor
    """Column within the block, int64 [cells]."""

    def within(self, first: int, last: int) -> tuple[slice, Tensor, Tensor]:
        """Return the cells of rows [first, last), their rows counted from `first`, columns."""
        cells = slice(int(self.ptr[first]), int(self.ptr[last]))
        return cells, self.row[cells] - first, self.column[cells]


@dataclass(frozen=True)
class Block:
    """Rows that share their columns: the requests of one decision time in one step."""

    rows: slice
    """Of u; n rows."""
    columns: slice
    """Of v; C columns."""
    offset: Tensor
    """o_j, float [C]; -inf = never a negative."""
    targets: Positives
    """The positives that are learned."""
    weight: Tensor
    """w_bp of each target, float [targets]."""
    shift: Tensor
    """Added to each target's logit: -log Q of the classic correction, else 0, float [targets]."""
    masked: Positives
    """All columns of any source that hold a positive of the row: never its negatives."""
    deep: int = 0
    """Best columns of a row among which the K-th sale of SL@K surely stands; 0 = all."""


@dataclass(frozen=True)
class Kernel:
    """How the sums are made."""

    chunk: int = 256
    """Rows of logits that exist at once."""
    low: bool = False
    """bfloat16 operands; sums, softmax and gradients stay float32."""
    sharpness: float = 1.0
    """t2: factor on the negatives' log-sum; 1 is softmax (BSL uses 1.06 to 1.32).

    Above 1 the loss also falls where all scores fall, and the more the lower the temperature: a
    learned one runs to its lower bound (docs/log.md).
    """
    top_k: int = 0
    """K of SL@K, which weighs targets by `nearness`; 0 = off."""
    top_k_tau: float = 1.0
    """tau_w: how far, in scores, the weight takes to fall."""


def chunked_softmax(
    u: Tensor, v: Tensor, scale: Tensor, *, blocks: list[Block], kernel: Kernel
) -> Tensor:
    """Return the sum over rows and their positives of w * softplus(t2 * N - s'), a scalar.

    u [n, D], v [columns, D], scale = 1 / tau (scalar tensor); s = scale * u.v and N = logsumexp
    over negatives of s + o; the kernel may multiply w by `nearness`. All rows x all columns never
    exist at once. Differentiable once.
    """
    loss: Tensor = _ChunkedSoftmax.apply(u, v, scale, blocks, kernel)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return loss


def naive_softmax(
    u: Tensor, v: Tensor, scale: Tensor, *, blocks: list[Block], kernel: Kernel
) -> Tensor:
    """Return the same number as `chunked_softmax` by plain autograd, for tests and benchmarks."""
    total = u.new_zeros(())
    for block in blocks:
        logits = scale * (u[block.rows] @ v[block.columns].T)
        masked = torch.zeros_like(logits, dtype=torch.bool)
        masked[block.masked.row, block.masked.column] = True
        negatives = (logits + block.offset).masked_fill(masked, -torch.inf).logsumexp(dim=1)
        own = logits[block.targets.row, block.targets.column] + block.shift
        gap = kernel.sharpness * negatives[block.targets.row] - own
        weight = block.weight
        if kernel.top_k:
            scores = (u[block.rows] @ v[block.columns].T).detach()
            at = (block.targets.row, block.targets.column)
            weight = weight * nearness(scores, block, at, kernel=kernel)
        total = total + (weight * softplus(gap)).sum()
    return total


def nearness(scores: Tensor, block: Block, at: tuple[Tensor, Tensor], *, kernel: Kernel) -> Tensor:
    """Return sigmoid((y_p - beta) / tau_w) of each target, in (0, 1), [targets] (SL@K, KDD 2025).

    y = u.v, [rows, C]; target p stands `at` (row, column). beta = a row's K-th best score: the
    highest at which the columns no lower stand for K sales, column j for exp(o_j) of them; its
    worst score where all stand for fewer. A weight and no goal: nothing is learned through it,
    for else a target would gain by standing lower.
    """
    best, order = scores.topk(block.deep or scores.shape[1], dim=1)
    before = block.offset.exp()[order].cumsum(dim=1) < kernel.top_k
    place = before.sum(dim=1, keepdim=True).clamp(max=best.shape[1] - 1)
    beta = best.gather(1, place)[:, 0]
    return torch.sigmoid((scores[at] - beta[at[0]]) / kernel.top_k_tau)


class _ChunkedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *operands: Any) -> Tensor:
        u, v, scale, blocks, kernel = operands
        sums = _Sums.zeros(u, v, scale=scale, low=kernel.low)
        for block in blocks:
            height = block.rows.stop - block.rows.start
            for first in range(0, height, kernel.chunk):
                span = (first, min(first + kernel.chunk, height))
                sums.add(block, span, kernel=kernel)
        ctx.save_for_backward(sums.du, sums.dv, sums.dscale)
        return sums.loss

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, Tensor, None, None]:
        if torch.is_grad_enabled():
            raise RuntimeError("chunked_softmax is differentiable once: its gradients are made")
        du, dv, dscale = ctx.saved_tensors
        return grads[0] * du, grads[0] * dv, grads[0] * dscale, None, None


@dataclass
class _Sums:
    """What the chunks add up to, and the operands they share."""

    u: Tensor
    v: Tensor
    scale: Tensor
    du: Tensor
    dv: Tensor
    dscale: Tensor
    loss: Tensor

    @classmethod
    def zeros(cls, u: Tensor, v: Tensor, *, scale: Tensor, low: bool) -> _Sums:
        kind = torch.bfloat16 if low else u.dtype
        return cls(
            u=u.to(kind),
            v=v.to(kind),
            scale=scale,
            du=torch.zeros_like(u),
            dv=torch.zeros_like(v),
            dscale=u.new_zeros(()),
            loss=u.new_zeros(()),
        )

    def add(self, block: Block, span: tuple[int, int], *, kernel: Kernel) -> None:
        """Add loss and gradients of rows [first, last) of a block."""
        rows = slice(block.rows.start + span[0], block.rows.start + span[1])
        u, v = self.u[rows], self.v[block.columns]
        logits = (u @ v.T).to(self.du.dtype) * self.scale
        cells, row, column = block.targets.within(*span)
        weight = block.weight[cells]
        if kernel.top_k:
            scores = logits / self.scale
            weight = weight * nearness(scores, block, (row, column), kernel=kernel)
        loss, slope = _slope(logits, block, span, weight=weight, sharpness=kernel.sharpness)
        self.loss += loss
        self.dscale += (slope * logits).sum() / self.scale
        slope = (slope * self.scale).to(u.dtype)
        self.du[rows] += (slope @ v).to(self.du.dtype)
        self.dv[block.columns] += (slope.T @ u).to(self.dv.dtype)


def _slope(
    logits: Tensor, block: Block, span: tuple[int, int], *, weight: Tensor, sharpness: float
) -> tuple[Tensor, Tensor]:
    """Return the loss of a chunk and its derivative by the logits [rows, C].

    d softplus(t2 N - s') = sigmoid(t2 N - s') (t2 dN - ds'), dN = sum_j exp(s_j + o_j - N) ds_j.
    """
    cells, row, column = block.targets.within(*span)
    _, masked_row, masked_column = block.masked.within(*span)
    shifted = logits + block.offset
    shifted[masked_row, masked_column] = -torch.inf
    negatives = shifted.logsumexp(dim=1)
    gap = sharpness * negatives[row] - logits[row, column] - block.shift[cells]
    pull = weight * torch.sigmoid(gap)
    push = torch.zeros_like(negatives).index_add_(0, row, sharpness * pull)
    # a row without any negative has N = -inf and pulls nothing
    shares = (shifted - negatives.clamp(min=-1e30)[:, None]).exp_()
    slope = shares.mul_(push[:, None]).index_put_((row, column), -pull, accumulate=True)
    return (weight * softplus(gap)).sum(), slope
