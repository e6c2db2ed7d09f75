"""The columns of a step as vectors: unit parts by sale, biases by decision time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import embedding, normalize


@dataclass(frozen=True)
class ColumnVectors:
    """v [V, D] of the columns: row j is [unit[place[j]]; bias[j]].

    Columns of many decision times share the unit part of a sale, which is copied for one block at
    a time; what is known of it lately is each column's own.
    """

    unit: Tensor
    """[U, D - 1]."""
    bias: Tensor
    """[V, 1]."""
    place: Tensor
    """Row of `unit`, int64 [V]."""

    @classmethod
    def of(cls, v: Tensor) -> ColumnVectors:
        """Let each of v [V, D] have a unit part of its own."""
        return cls(v[:, :-1], v[:, -1:], torch.arange(len(v), device=v.device))

    def __getitem__(self, columns: slice | Tensor) -> Tensor:
        """Return v of some columns."""
        return torch.cat((embedding(self.place[columns], self.unit), self.bias[columns]), dim=1)

    def cut(self, width: int) -> ColumnVectors:
        """Shorten them to `width` coordinates, as `two_tower.cut` does."""
        if width == self.unit.shape[1] + 1:
            return self
        return replace(self, unit=normalize(self.unit[:, : width - 1], dim=1, eps=1e-6))

    def float(self) -> ColumnVectors:
        """Return them in single precision."""
        return replace(self, unit=self.unit.float(), bias=self.bias.float())
