"""The sale tower: x to a unit vector and a bias that knows content and popularity (MODEL 2.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from recsys.towers.features import residual_mlp
from recsys.towers.spec import TwoTower


class SaleTower(nn.Module):
    """v = [unit part of length D - 1; c], c in [-bias_max, bias_max]."""

    as_of_mean: Tensor
    as_of_scale: Tensor

    def __init__(self, spec: TwoTower) -> None:
        """Start as the identity without any bias."""
        super().__init__()
        as_of = 3 + len(spec.popularity_hours)
        self.bias_max = spec.bias_max
        self.mlp = residual_mlp(width=spec.dim, dim=spec.dim)
        self.content_bias = nn.Parameter(torch.zeros(spec.dim))
        self.as_of_bias = nn.Parameter(torch.zeros(as_of))
        self.base_bias = nn.Parameter(torch.zeros(1))
        self.register_buffer("as_of_mean", torch.zeros(as_of))
        self.register_buffer("as_of_scale", torch.ones(as_of))

    def unit(self, x: Tensor) -> Tensor:
        """Return the unit part of sales [n, D - 1] from their x [n, D]."""
        return normalize((x + self.mlp(x))[:, :-1], dim=1, eps=1e-6)

    def bias(self, z: Tensor, as_of: Tensor) -> Tensor:
        """Return c [n, 1] from content z [n, D] and what changes with time [n, A].

        Of content and counts before the decision alone: tomorrow's sale has one too.
        """
        lately = (as_of - self.as_of_mean) * self.as_of_scale
        wanted = z @ self.content_bias + lately @ self.as_of_bias + self.base_bias
        return self.bias_max * torch.tanh(wanted)[:, None]
