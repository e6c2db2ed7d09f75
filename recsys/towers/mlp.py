"""A layer, GELU and a layer over many rows: in bfloat16 where training's CPU computes it itself."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

_LEAST = 64
"""Rows of a product in bfloat16 are a multiple of it on a CPU."""


class Mlp(nn.Sequential):
    """Layers over the last dimension of [..., i]; weights, and what comes out, are float32."""

    low = False
    """Compute in bfloat16, in training on a CPU; a GPU has autocast around all of a step."""

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layers make of x [..., i]."""
        layers: Callable[[Tensor], Tensor] = super().forward
        if not self.low:
            return layers(x)
        rows = x.flatten(0, -2)
        with torch.autocast("cpu", torch.bfloat16):
            # a CPU keeps what it made for each shape of a product
            made = layers(pad(rows, (0, 0, 0, rounded(len(rows)) - len(rows))))
        return made[: len(rows)].float().reshape(*x.shape[:-1], made.shape[1])


def rounded(rows: int) -> int:
    """Return a number of rows that is more by an eighth or 63 at most, and one of few."""
    step = max(_LEAST, 1 << max(rows.bit_length() - 4, 0))
    return -(-rows // step) * step


def residual_mlp(*, width: int, dim: int) -> Mlp:
    """Return width -> 2 D -> D with GELU whose last layer starts at zero."""
    last = nn.Linear(2 * dim, dim)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return Mlp(nn.Linear(width, 2 * dim), nn.GELU(), last)


def lowered(net: nn.Module) -> None:
    """Let all such layers of a net compute in bfloat16."""
    for part in net.modules():
        if isinstance(part, Mlp):
            part.low = True
