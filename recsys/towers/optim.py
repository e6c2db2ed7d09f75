"""Rates, their schedule, the averaged weights (MODEL 5)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from recsys.towers.spec import TwoTower
from recsys.towers.two_tower import TwoTowerNet

_FLOOR = 0.01
"""Last rate, as a share of the peak."""


def adam(net: TwoTowerNet, spec: TwoTower) -> torch.optim.Adam:
    """Return fused Adam: tables, matrices, and vectors and scalars ten times faster than these.

    Each group's `peak` is its rate at the top of the schedule. Nothing decays.
    """
    own = net.sale_input.own
    tables = [net.table] if own is None else [net.table, own]
    known = {id(p) for p in tables}
    others = [p for p in net.parameters() if id(p) not in known]
    groups: list[dict[str, Any]] = [
        {"params": tables, "peak": spec.table_rate, "betas": (0.9, 0.99)},
        {"params": [p for p in others if p.ndim > 1], "peak": spec.rate},
        {"params": [p for p in others if p.ndim <= 1], "peak": min(1.0, 10 * spec.rate)},
    ]
    return torch.optim.Adam(groups, lr=spec.rate, fused=True)


def factor(step: int, *, total: int, warmup: float) -> float:
    """Return the share of the peak rate at a step: linear rise, then cosine down to 1 %."""
    rise = max(1.0, warmup * total)
    if step < rise:
        return (step + 1) / (rise + 1)
    done = min(1.0, (step - rise) / max(1.0, total - rise))
    return _FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * done))


def set_rates(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Set each group's rate to a share of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


@torch.no_grad()
def follow(averaged: nn.Module, net: nn.Module, *, step: int, decay: float) -> None:
    """Move the averaged weights towards the net's: decay rises from 0.1 to `decay` (EMA)."""
    slow = min(decay, (1 + step) / (10 + step)) if decay else 0.0
    torch._foreach_lerp_(  # the public name for this does not exist
        list(averaged.parameters()), list(net.parameters()), 1 - slow
    )


def clip(parameters: list[nn.Parameter], longest: float) -> Tensor:
    """Shorten the gradient of all parameters to `longest`; return its length before, a scalar."""
    return nn.utils.clip_grad_norm_(parameters, longest, foreach=True)
