"""Vectors of sales and requests from fixed weights: for validation and export alike."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recsys.domain.arrays import I64
from recsys.domain.requests import Requests
from recsys.towers.batches import past_of
from recsys.towers.resident import Past, Resident
from recsys.towers.two_tower import TwoTowerNet, ask

_ROWS = 4096
"""Sales computed at once."""
_EVENTS = 32 * 4096
"""Events of members computed at once, so that a long history takes no more memory."""


class Vectors:
    """Exact u and v of a net in float32, without dropout, own vectors only where known (k_i)."""

    def __init__(self, net: TwoTowerNet, resident: Resident) -> None:
        """Compute x of all sales once: S x D twice in memory."""
        self.net, self.resident = net, resident
        parts = [
            self._x(np.arange(first, min(first + _ROWS, resident.num_sales)))
            for first in range(0, resident.num_sales, _ROWS)
        ]
        dim = net.spec.dim
        blank = torch.zeros(0, dim, device=resident.device)
        self.z = torch.cat([blank, *(z for z, _ in parts)])
        self.x = torch.cat([blank, *(x for _, x in parts)])

    @torch.no_grad()
    def _x(self, rows: I64) -> tuple[Tensor, Tensor]:
        return self.net.sale_x(self.resident, rows, noise=None)

    @torch.no_grad()
    def sales(self, rows: I64, at: int) -> Tensor:
        """Return v [n, D] of sales (rows I64[n]) as of an instant (UTC us)."""
        parts = [torch.zeros(0, self.net.spec.dim, device=self.resident.device)]
        for first in range(0, len(rows), _ROWS):
            some = rows[first : first + _ROWS]
            instants = np.full(len(some), at, dtype=np.int64)
            as_of = self.resident.as_of(some, instants, hours=self.net.spec.popularity_hours)
            here = torch.from_numpy(some).to(self.resident.device)
            lately = torch.from_numpy(as_of).to(self.resident.device)
            parts.append(self.net.sale_vectors(self.z[here], self.x[here], lately))
        return torch.cat(parts)

    @torch.no_grad()
    def members(self, past: Past) -> Tensor:
        """Return u [B, D] of members, each with a past of their own."""
        parts = [torch.zeros(0, self.net.spec.dim, device=self.resident.device)]
        rows = max(1, _EVENTS // self.net.spec.history)
        for first in range(0, len(past.member), rows):
            span = slice(first, first + rows)
            some = Past(past.member[span], past.end[span], past.at[span])
            asked = ask(self.resident, some, length=self.net.spec.history)
            x = self.x[asked.window.sale]
            parts.append(self.net.member_vectors(self.resident, asked, x, noise=None))
        return torch.cat(parts)

    def requests(self, requests: Requests, rows: slice) -> Tensor:
        """Return u [n, D] of some requests."""
        return self.members(past_of(requests, rows))
