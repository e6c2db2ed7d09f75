"""Pasts that are sets: a share is hidden anew at each step, and asked for (denoising)."""

from __future__ import annotations

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
    """Return a window as if some of its events, bool [B, L], had never been.

    Those left stand first; of the events before the window the same share counts as gone.
    """
    valid = window.valid & ~gone
    order = torch.argsort((~valid).to(torch.uint8), dim=1, stable=True)
    before, after = window.valid.sum(dim=1), valid.sum(dim=1)
    return Window(
        sale=window.sale.gather(1, order),
        what=window.what.gather(1, order),
        days=window.days.gather(1, order),
        valid=valid.gather(1, order),
        so_far=window.so_far * after / before.clamp(min=1),
    )


def reweighted(weight: Tensor, asked: Tensor, *, row: Tensor, rows: int) -> Tensor:
    """Return the weights [t] of the targets asked for, 0 for others, sum 1 in each of the rows."""
    kept = weight * asked
    total = torch.zeros(rows, device=weight.device).index_add_(0, row, kept)
    return kept / total[row].clamp(min=torch.finfo(kept.dtype).tiny)
