"""The sale tower: x to a unit vector and a bias that knows content and popularity (MODEL 2.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from recsys.towers.mlp import residual_mlp
from recsys.towers.spec import TwoTower

_HIDDEN = 16
"""Width of what counts may say beyond a line."""


class SaleTower(nn.Module):
    """v = [unit part of length D - 1; c], c = what content says + tau times what counts say."""

    as_of_mean: Tensor
    as_of_scale: Tensor
    loudness: Tensor
    """Factor on c, a scalar: 1 in training, chosen on validation for what is exported."""

    def __init__(self, spec: TwoTower) -> None:
        """Start as the identity without any bias."""
        super().__init__()
        as_of = 3 + len(spec.popularity_hours)
        self.bias_max = spec.bias_max
        self.mlp = residual_mlp(width=spec.dim, dim=spec.dim)
        self.content_bias = nn.Parameter(torch.zeros(spec.dim))
        self.as_of_bias = nn.Parameter(torch.zeros(as_of))
        last = nn.Linear(_HIDDEN, 1, bias=False)
        nn.init.zeros_(last.weight)
        self.as_of_mlp = nn.Sequential(nn.Linear(as_of, _HIDDEN), nn.GELU(), last)
        self.base_bias = nn.Parameter(torch.zeros(1))
        self.register_buffer("as_of_mean", torch.zeros(as_of))
        self.register_buffer("as_of_scale", torch.ones(as_of))
        self.register_buffer("loudness", torch.ones(()))

    def unit(self, x: Tensor) -> Tensor:
        """Return the unit part of sales [n, D - 1] from their x [n, D]."""
        return normalize((x + self.mlp(x))[:, :-1], dim=1, eps=1e-6)

    def content(self, z: Tensor) -> Tensor:
        """Return what content [n, D] says of how wanted sales are, in [-bias_max, bias_max]."""
        return self.bias_max * torch.tanh(z @ self.content_bias + self.base_bias)

    def bias(self, content: Tensor, as_of: Tensor, *, tau: Tensor) -> Tensor:
        """Return c [n, 1] from `content` [n, 1] and what changes with time [n, A].

        Of content and counts before the decision alone: tomorrow's sale has one too. Counts speak
        in logits, where log popularity with weight 1 is the popularity baseline.
        """
        return self.loudness * (content + tau.detach() * self.counted(as_of))

    def counted(self, as_of: Tensor) -> Tensor:
        """Return what counts say [n, 1], in logits, of what changes with time [n, A]."""
        lately = (as_of - self.as_of_mean) * self.as_of_scale
        counted: Tensor = lately @ self.as_of_bias[:, None] + self.as_of_mlp(lately)
        return counted
