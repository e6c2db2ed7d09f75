"""Softmax over negatives in row chunks, with its gradients made in the forward pass (MODEL 3.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, softplus

from recsys.domain.arrays import I64
from recsys.towers.column_vectors import ColumnVectors
from recsys.towers.shares import NEVER, summed

_ROWS = 64
"""Rows of a product in bfloat16 are a multiple of it on a CPU."""
_CELLS = 1 << 28
"""Logits that exist at once, at most."""


@dataclass(frozen=True)
class Targets:
    """What rows are to rank first: row i of the block owns cells [ptr[i], ptr[i + 1])."""

    ptr: I64
    """I64[n + 1], on the host, so that no chunk waits for the device."""
    row: Tensor
    """Row within the block, int64 [cells]."""
    column: Tensor
    """Row of v, of any block, int64 [cells]."""
    own: Tensor
    """Where it stands among the block's columns: never its row's negative, int64 [cells].
    The block's last column, which is nobody's negative, stands for nowhere."""
    weight: Tensor
    """w_bp, float [cells]."""
    shift: Tensor
    """Added to the logit: -log Q of the classic correction, else 0, float [cells]."""

    def of(self, rows: slice) -> Targets:
        """Return those of some rows, which are counted from the first of them."""
        cells = slice(int(self.ptr[rows.start]), int(self.ptr[rows.stop]))
        return Targets(
            ptr=self.ptr[rows.start : rows.stop + 1] - cells.start,
            row=self.row[cells] - rows.start,
            column=self.column[cells],
            own=self.own[cells],
            weight=self.weight[cells],
            shift=self.shift[cells],
        )

    def within(self, first: int, last: int) -> tuple[slice, Tensor]:
        """Return the cells of rows [first, last), and their rows counted from `first`."""
        cells = slice(int(self.ptr[first]), int(self.ptr[last]))
        return cells, self.row[cells] - first


@dataclass(frozen=True)
class Block:
    """Rows that share their columns: the requests of one decision time in one step."""

    rows: slice
    """Of u; n rows."""
    columns: slice
    """Of v; C columns."""
    offset: Tensor
    """o_j, float [C]; -inf = nobody's negative, and always that of the last column."""
    targets: Targets
    past: Tensor | None = None
    """More columns that are not a row's negatives, int64 [n, L]; the last one = nowhere."""


@dataclass(frozen=True)
class Kernel:
    """How the sums are made."""

    chunk: int = 256
    """Rows of logits that exist at once, at most."""
    low: bool = False
    """bfloat16 operands; sums, softmax and gradients stay float32."""
    fuse: bool = False
    """Compile the passes over the logits into one kernel each: for GPUs."""
    sharpness: float = 1.0
    """t2: factor on the negatives' log-sum; 1 is softmax (BSL uses 1.06 to 1.32).

    Above 1 the loss also falls where all scores fall, and the more the lower the temperature: a
    learned one runs to its lower bound (docs/log.md).
    """
    top_k: int = 0
    """K of SL@K, which weighs targets by how near they are to `threshold`; 0 = off."""
    top_k_tau: float = 1.0
    """tau_w: how far, in scores, the weight takes to fall."""


def chunked_softmax(
    u: Tensor, v: ColumnVectors, scale: Tensor, *, blocks: list[Block], kernel: Kernel
) -> Tensor:
    """Return the sum over rows and their positives of w * softplus(t2 * N - s'), a scalar.

    u [n, D], v of the columns, scale = 1 / tau (scalar tensor); s = scale * u.v and N = logsumexp
    over negatives of s + o; the kernel may multiply w by `nearness`. All rows x all columns never
    exist at once. Differentiable once.
    """
    loss: Tensor = _ChunkedSoftmax.apply(u, v.unit, v.bias, scale, v.place, blocks, kernel)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return loss


def naive_softmax(
    u: Tensor, v: ColumnVectors, scale: Tensor, *, blocks: list[Block], kernel: Kernel
) -> Tensor:
    """Return the same number as `chunked_softmax` by plain autograd, for tests and benchmarks."""
    total = u.new_zeros(())
    for block in blocks:
        targets, mine = block.targets, u[block.rows]
        logits = scale * (mine @ v[block.columns].T)
        masked = torch.zeros_like(logits, dtype=torch.bool)
        masked[targets.row, targets.own] = True
        if block.past is not None:
            masked.scatter_(1, block.past, value=True)
        # not -inf, of which autograd makes NaN where a row has no negative at all
        allowed = (logits + block.offset).masked_fill(masked, NEVER).clamp(min=NEVER)
        negatives = allowed.logsumexp(dim=1)
        cosine = (mine[targets.row] * v[targets.column]).sum(dim=1)
        gap = kernel.sharpness * negatives[targets.row] - scale * cosine - targets.shift
        weight = targets.weight
        if kernel.top_k:
            scores = (mine @ v[block.columns].T).detach()
            beta = threshold(scores, block.offset, kernel.top_k)[targets.row]
            weight = weight * torch.sigmoid((cosine.detach() - beta) / kernel.top_k_tau)
        total = total + (weight * softplus(gap)).sum()
    return total


def threshold(scores: Tensor, offset: Tensor, top_k: int) -> Tensor:
    """Return beta of each row, its K-th best score, [rows], from y = u.v [rows, C].

    SL@K (KDD 2025) weighs target p by sigmoid((y_p - beta) / tau_w). beta is the highest score at
    which the columns no lower stand for K sales, column j for exp(o_j) of them; the worst score
    where all stand for fewer. A weight and no goal: nothing is learned through it, for else a
    target would gain by standing lower.
    """
    best, order = scores.sort(dim=1, descending=True)
    before = offset.exp()[order].cumsum(dim=1) < top_k
    place = before.sum(dim=1, keepdim=True).clamp(max=best.shape[1] - 1)
    return best.gather(1, place)[:, 0]


class _ChunkedSoftmax(torch.autograd.Function):
    """Loss and all gradients in one pass; the backward pass only scales them."""

    @staticmethod
    def forward(ctx: Any, *operands: Any) -> Tensor:
        """Return the loss of what `chunked_softmax` is given, and keep its gradients."""
        u, unit, bias, scale, place, blocks, kernel = operands
        sums = _Sums.zeros(u, ColumnVectors(unit, bias, place), scale=scale, kernel=kernel)
        for block in blocks:
            height = block.rows.stop - block.rows.start
            width = max(1, block.columns.stop - block.columns.start)
            chunk = min(kernel.chunk, max(1, _CELLS // width))
            for first in range(0, height, chunk):
                span = (first, min(first + chunk, height))
                sums.add(block, span)
        ctx.save_for_backward(sums.du, sums.dv[:, :-1], sums.dbias, sums.dscale)
        return sums.loss

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of u, unit, bias and scale."""
        if torch.is_grad_enabled():
            raise RuntimeError("chunked_softmax is differentiable once: its gradients are made")
        made = (grads[0] * gradient for gradient in ctx.saved_tensors)
        return *made, None, None, None


@dataclass
class _Sums:
    """What the chunks add up to, and the operands they share."""

    u: Tensor
    v: ColumnVectors
    scale: Tensor
    du: Tensor
    dv: Tensor
    """Of the unit rows, [U, D]; the last coordinate is not used, for biases are no one row's."""
    dbias: Tensor
    dscale: Tensor
    loss: Tensor
    kernel: Kernel

    @classmethod
    def zeros(cls, u: Tensor, v: ColumnVectors, *, scale: Tensor, kernel: Kernel) -> _Sums:
        """Start at nothing."""
        return cls(
            u=u,
            v=v,
            scale=scale,
            du=torch.zeros_like(u),
            dv=u.new_zeros(len(v.unit), u.shape[1]),
            dbias=torch.zeros_like(v.bias),
            dscale=u.new_zeros(()),
            loss=u.new_zeros(()),
            kernel=kernel,
        )

    def add(self, block: Block, span: tuple[int, int]) -> None:
        """Add loss and gradients of rows [first, last) of a block.

        d softplus(t2 N - s') = sigmoid(t2 N - s') (t2 dN - ds'),
        dN = sum_j exp(s_j + o_j - N) ds_j.
        """
        rows = slice(block.rows.start + span[0], block.rows.start + span[1])
        u, v = self._low(self.u[rows] * self.scale), self._low(self.v[block.columns])
        u, height = self._whole(u), span[1] - span[0]
        logits, beta = (u @ v.T)[:height], None
        if self.kernel.top_k:
            scores = logits.to(self.du.dtype) / self.scale
            beta = threshold(scores, block.offset, self.kernel.top_k)
        logits = _masked(logits, block, span)
        negatives, shares = summed(logits, block.offset, fuse=self.kernel.fuse)
        pull, push = self._pairs(block, span, negatives, beta=beta)
        pushed = self._whole(shares(push))
        du = (pushed @ v)[:height].to(self.du.dtype)
        # sum_ij share_ij s_ij / scale, without another pass over all logits
        self.dscale += (du * self.u[rows]).sum() - pull
        self.du[rows] += du * self.scale
        dv = (pushed.T @ u).to(self.dv.dtype)
        self.dv.index_add_(0, self.v.place[block.columns], dv)
        self.dbias[block.columns] += dv[:, -1:]

    def _pairs(
        self, block: Block, span: tuple[int, int], negatives: Tensor, *, beta: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Add what the targets pull; return their part of dscale, and each row's push [rows]."""
        cells, row = block.targets.within(*span)
        column, weight = block.targets.column[cells], block.targets.weight[cells]
        here, there = self.u.index_select(0, block.rows.start + span[0] + row), self.v[column]
        cosine = (here * there).sum(dim=1)
        if beta is not None:
            weight = weight * torch.sigmoid((cosine - beta[row]) / self.kernel.top_k_tau)
        gap = self.kernel.sharpness * negatives[row] - cosine * self.scale
        gap = gap - block.targets.shift[cells]
        self.loss += (weight * softplus(gap)).sum()
        pull = weight * torch.sigmoid(gap)
        tug = (pull * self.scale)[:, None]
        self.du.index_add_(0, block.rows.start + span[0] + row, there * -tug)
        self.dv.index_add_(0, self.v.place[column], here * -tug)
        self.dbias.index_add_(0, column, here[:, -1:] * -tug)
        push = torch.zeros_like(negatives).index_add_(0, row, self.kernel.sharpness * pull)
        return (pull * cosine).sum(), push

    def _whole(self, rows: Tensor) -> Tensor:
        """Pad rows of bfloat16 with zeros: a CPU keeps what it made for each shape of a product."""
        if not self.kernel.low or rows.device.type != "cpu":
            return rows
        return pad(rows, (0, 0, 0, -len(rows) % _ROWS))

    def _low(self, values: Tensor) -> Tensor:
        return values.bfloat16() if self.kernel.low else values


def _masked(logits: Tensor, block: Block, span: tuple[int, int]) -> Tensor:
    """Mask what is no negative of its row, in place."""
    cells, row = block.targets.within(*span)
    # a bare number would be copied to a GPU, and that waits
    never = logits.new_full((), -torch.inf)
    logits.index_put_((row, block.targets.own[cells]), never)
    if block.past is not None:
        logits.scatter_(1, block.past[span[0] : span[1]], -torch.inf)
    return logits
