"""Both towers over one table, one temperature (MODEL 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from recsys.domain.arrays import I64
from recsys.domain.encoded import Encoded
from recsys.towers.carry import carry
from recsys.towers.features import START, SaleInput
from recsys.towers.member import Asked, MemberTower
from recsys.towers.noise import Noise
from recsys.towers.resident import Past, Resident
from recsys.towers.sale import SaleTower
from recsys.towers.spec import TwoTower

TAU_HIGH = 0.5
_BLOCK = 1 << 14
"""Rows of the table that are drawn at once."""


@dataclass(frozen=True)
class Sizes:
    """Everything about the inputs that fixes the shapes of the weights."""

    member_fields: tuple[str, ...]
    sale_fields: tuple[str, ...]
    member_dense: tuple[str, ...]
    sale_dense: tuple[str, ...]
    table_rows: int

    @classmethod
    def of(cls, encoded: Encoded) -> Sizes:
        """Read the sizes off encoded members and sales."""
        return cls(
            member_fields=tuple(encoded.members.fields),
            sale_fields=tuple(encoded.sales.fields),
            member_dense=tuple(encoded.members.dense_names),
            sale_dense=tuple(encoded.sales.dense_names),
            table_rows=encoded.table_rows,
        )


def initial_rows(sizes: Sizes, used: I64, *, dim: int, seed: int) -> Tensor:
    """Return the untrained rows of the shared table, float32 [len(used), dim].

    `used` is ascending. A row depends on the seed and its number alone, so a value never seen in
    training still has the row that it would have had in a table trained whole.
    """
    source = torch.Generator().manual_seed(seed)
    rows = torch.empty(len(used), dim)
    # a block at a time, for the whole table may be far larger than what is used of it
    for first in range(0, sizes.table_rows, _BLOCK):
        block = torch.empty(min(_BLOCK, sizes.table_rows - first), dim)
        block.normal_(std=START / dim**0.5, generator=source)
        here = slice(*np.searchsorted(used, (first, first + _BLOCK)).tolist())
        rows[here] = block[torch.from_numpy(used[here] - first)]
    return rows


class TwoTowerNet(nn.Module):
    """The weights of both towers; shapes: S sales, R rows in use, D = spec.dim."""

    def __init__(self, spec: TwoTower, sizes: Sizes, *, used: I64, sales: int, seed: int) -> None:
        """Draw all starting weights from the seed, whatever the global random state."""
        super().__init__()
        self.spec, self.sizes, self.seed = spec, sizes, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.sale_input = SaleInput(
                spec, fields=len(sizes.sale_fields), dense=len(sizes.sale_dense), sales=sales
            )
            self.sale_tower = SaleTower(spec)
            self.member_tower = MemberTower(
                spec, fields=len(sizes.member_fields), dense=len(sizes.member_dense)
            )
        self.table = nn.Parameter(initial_rows(sizes, used, dim=spec.dim, seed=seed))
        self.log_tau = nn.Parameter(torch.tensor(math.log(spec.tau)))

    @property
    def tau(self) -> Tensor:
        """Temperature of training logits, a scalar in [spec.tau_low, 0.5]."""
        return self.log_tau.clamp(math.log(self.spec.tau_low), math.log(TAU_HIGH)).exp()

    def sale_x(
        self, resident: Resident, rows: I64, *, noise: Noise | None
    ) -> tuple[Tensor, Tensor]:
        """Return z and x [n, D] of sales (rows I64[n], on the host)."""
        ptr = resident.sales.ptr
        cells = int((ptr[rows + 1] - ptr[rows]).sum())
        there = carry(rows, resident.device)
        z: Tensor
        z, x = self.sale_input(self.table, resident.sales, there, cells=cells, noise=noise)
        return z, x

    def sale_vectors(self, z: Tensor, x: Tensor, as_of: Tensor) -> Tensor:
        """Return v [n, D] from content, input vector and `Resident.as_of` [n, A]."""
        tower = self.sale_tower
        bias = tower.bias(tower.content(z)[:, None], as_of, tau=self.tau)
        return torch.cat((tower.unit(x), bias), dim=1)

    def member_vectors(
        self, resident: Resident, asked: Asked, x: Tensor, *, noise: Noise | None
    ) -> Tensor:
        """Return u [B, D] from the requests and x [B or M, L, D] of the events of `asked.read`."""
        u: Tensor = self.member_tower(
            self.table, resident.members, asked, x=x, log_price=resident.log_price, noise=noise
        )
        return u


def cut(vectors: Tensor, width: int) -> Tensor:
    """Shorten vectors [n, D] to [n, width] (Matryoshka, NeurIPS 2022), as `Embeddings.cut` does.

    The first width - 1 coordinates of the unit part, of length 1 again, and the last one.
    """
    if width == vectors.shape[1]:
        return vectors
    unit = normalize(vectors[:, : width - 1], dim=1, eps=1e-6)
    return torch.cat((unit, vectors[:, -1:]), dim=1)


def ask(resident: Resident, past: Past, *, length: int, request: I64 | None = None) -> Asked:
    """Gather B requests; `request` I64[B] keys their dropout and is needed in training alone."""
    ptr, member = resident.members.ptr, past.member
    if request is None:
        request = np.zeros(len(member), dtype=np.int64)
    host = carry(np.stack((member, request)), resident.device)
    return Asked(
        member=host[0],
        request=host[1],
        window=resident.window(past, length=length),
        cells=int((ptr[member + 1] - ptr[member]).sum()),
    )
