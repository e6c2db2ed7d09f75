"""Pasts that are sets: a share is hidden anew at each step, and asked for (denoising)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from recsys.towers.noise import Noise
from recsys.towers.resident import Window

_HIDDEN = 14
"""Salt of the draws."""


def hidden(share: float, request: Tensor, sale: Tensor, *, noise: Noise) -> Tensor:
    """Tell which sales a step hides from the pasts of its requests, bool of the common shape.

    A draw depends on request, sale and step: what the past lacks is what is asked for.
    """
    return ~noise.keep(share, _HIDDEN, request, sale)


def without(window: Window, gone: Tensor) -> Window:
    """Return a window as if some of its events, bool [B, L], had never been."""
    lost = (gone & window.valid).sum(dim=1)
    return replace(window, valid=window.valid & ~gone, so_far=window.so_far - lost)


def reweighted(weight: Tensor, asked: Tensor, *, row: Tensor, rows: int) -> Tensor:
    """Return the weights [t] of the targets asked for, 0 for others, sum 1 in each of the rows."""
    kept = weight * asked
    total = torch.zeros(rows, device=weight.device).index_add_(0, row, kept)
    return kept / total[row].clamp(min=torch.finfo(kept.dtype).tiny)
