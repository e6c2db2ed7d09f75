"""Rates, their schedule, the averaged weights (MODEL 5)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from recsys.towers.features import by_rows
from recsys.towers.spec import TwoTower
from recsys.towers.two_tower import TwoTowerNet

_FLOOR = 0.01
"""Last rate, as a share of the peak."""


def tables(net: TwoTowerNet) -> dict[str, nn.Parameter]:
    """Return the weights with a row for each value or sale, by name."""
    own = net.sale_input.own
    return {"table": net.table} | ({} if own is None else {"sale_input.own": own})


def adam(net: TwoTowerNet, spec: TwoTower) -> torch.optim.Adam:
    """Return fused Adam: tables, matrices, and vectors and scalars ten times faster than these.

    Each group's `peak` is its rate at the top of the schedule. Nothing decays. Tables of more than
    `rows_above` rows are not in it: see `recsys.towers.rows`.
    """
    known = tables(net)
    small = [p for p in known.values() if not by_rows(p, spec)]
    others = [p for name, p in net.named_parameters() if name not in known]
    groups: list[dict[str, Any]] = [
        {"params": small, "peak": spec.table_rate, "betas": (0.9, 0.99)},
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


def decay_at(step: int, decay: float) -> float:
    """Return the averages' decay at a step: it rises from 0.1 to `decay`."""
    return min(decay, (1 + step) / (10 + step)) if decay else 0.0


@torch.no_grad()
def follow(averaged: list[Tensor], weights: list[Tensor], decay: float) -> None:
    """Move averaged weights towards the weights (EMA)."""
    torch._foreach_lerp_(averaged, weights, 1 - decay)  # the public name for this does not exist


def clip(parameters: list[Tensor], longest: float) -> Tensor:
    """Shorten the gradient of all parameters to `longest`; return its length before, a scalar."""
    return nn.utils.clip_grad_norm_(parameters, longest, foreach=True)
