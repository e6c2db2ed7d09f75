"""How much each negative has of a row's softmax, and the log of their sum."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

NEVER = -1e30
"""The logit of what is no negative where -inf would make NaN."""


def summed(
    logits: Tensor, offset: Tensor, *, fuse: bool
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return N [rows] = logsumexp over the columns of logits [rows, C] + offset [C], and a map.

    It makes of each row's push [rows], once, its shares push * exp(logits + offset - N) [rows, C]
    in the dtype of the logits. A row without any negative has N = -inf and pushes nothing.
    """
    if fuse:
        log_sum, shares = _fused()
        total = log_sum(logits, offset)
        return total, lambda push: shares(logits, offset, total=total, push=push)
    # powers are made once: a CPU reads memory sooner than it makes them again
    shifted = logits.to(offset.dtype) + offset
    most = shifted.amax(dim=1).clamp_(min=NEVER)
    powers = shifted.sub_(most[:, None]).exp_()
    total = powers.sum(dim=1).log_().add_(most)
    rest = (most - total.clamp(min=NEVER)).exp_()
    return total, lambda push: powers.mul_((push * rest)[:, None]).to(logits.dtype)


@cache
def _fused() -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """Return what sums and what shares, each compiled into one pass over memory."""

    def log_sum(logits: Tensor, offset: Tensor) -> Tensor:
        return (logits.to(offset.dtype) + offset).logsumexp(dim=1)

    def shares(logits: Tensor, offset: Tensor, *, total: Tensor, push: Tensor) -> Tensor:
        shifted = logits.to(offset.dtype) + offset
        pushed = shifted.sub_(total.clamp(min=NEVER)[:, None]).exp_().mul_(push[:, None])
        return pushed.to(logits.dtype)

    compiled: Callable[..., Any] = torch.compile
    return compiled(log_sum, dynamic=True), compiled(shares, dynamic=True)
