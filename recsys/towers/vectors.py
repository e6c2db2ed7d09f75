"""Vectors of sales and requests from fixed weights: for validation and export alike."""

from __future__ import annotations

from copy import copy

import numpy as np
import torch
from torch import Tensor

from recsys.domain.arrays import I64
from recsys.domain.requests import Requests
from recsys.towers.batches import past_of
from recsys.towers.resident import Past, Resident
from recsys.towers.spectral import Columns
from recsys.towers.two_tower import TwoTowerNet, ask

_ROWS = 4096
"""Sales computed at once."""
_EVENTS = 32 * 1024
"""Events of members computed at once, so that a long history takes no more memory."""


class Vectors:
    """Exact u and v of a net in float32, without dropout, own vectors only where known (k_i)."""

    def __init__(
        self, net: TwoTowerNet, resident: Resident, columns: Columns | None = None
    ) -> None:
        """Compute x of all sales once: S x D twice in memory; `columns` follow the towers' own."""
        self.net, self.resident, self.columns = net, resident, columns
        shape = resident.num_sales, net.spec.dim
        self.z, self.x = (torch.empty(shape, device=resident.device) for _ in range(2))
        for first in range(0, resident.num_sales, _ROWS):
            rows = np.arange(first, min(first + _ROWS, resident.num_sales))
            here = slice(first, first + len(rows))
            self.z[here], self.x[here] = self._x(rows)

    @torch.no_grad()
    def _x(self, rows: I64) -> tuple[Tensor, Tensor]:
        return self.net.sale_x(self.resident, rows, noise=None)

    @property
    def unit_dims(self) -> int:
        """The first unit_dims coordinates have length 1."""
        return self.net.spec.dim - 1

    def widened(self, columns: Columns | None) -> Vectors:
        """Return the same vectors with spectral coordinates behind them, or with none."""
        wide = copy(self)
        wide.columns = columns
        return wide

    def _blank(self) -> Tensor:
        width = self.net.spec.dim + (self.columns.width if self.columns else 0)
        return torch.zeros(0, width, device=self.resident.device)

    @torch.no_grad()
    def sales(self, rows: I64, at: int) -> Tensor:
        """Return v [n, D] of sales (rows I64[n]) as of an instant (UTC us).

        Spectral coordinates, where there are any, stand behind it.
        """
        parts = [self._blank()]
        for first in range(0, len(rows), _ROWS):
            some = rows[first : first + _ROWS]
            instants = np.full(len(some), at, dtype=np.int64)
            as_of = self.resident.as_of(some, instants, hours=self.net.spec.popularity_hours)
            here = torch.from_numpy(some).to(self.resident.device)
            lately = torch.from_numpy(as_of).to(self.resident.device)
            v = self.net.sale_vectors(self.z[here], self.x[here], lately)
            if self.columns is not None:
                v = torch.cat((v, self.columns.sales(some).to(v.device)), dim=1)
            parts.append(v)
        return torch.cat(parts)

    @torch.no_grad()
    def members(self, past: Past) -> Tensor:
        """Return u [B, D] (spectral coordinates behind it) of members, each with their own past."""
        parts = [self._blank()]
        rows = max(1, _EVENTS // self.net.spec.history)
        for first in range(0, len(past.member), rows):
            span = slice(first, first + rows)
            some = Past(past.member[span], past.end[span], past.at[span])
            asked = ask(self.resident, some, length=self.net.spec.history)
            x = self.x[asked.window.sale]
            u = self.net.member_vectors(self.resident, asked, x, noise=None)
            if self.columns is not None:
                u = torch.cat((u, self.columns.members(some).to(u.device)), dim=1)
            parts.append(u)
        return torch.cat(parts)

    def requests(self, requests: Requests, rows: slice) -> Tensor:
        """Return u of some requests, see `members`."""
        return self.members(past_of(requests, rows))
