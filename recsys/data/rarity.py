"""How much a value of many says: the rarer, the more."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recsys.data.bags import Cells
from recsys.domain.arrays import F32, I32, I64


@dataclass(frozen=True)
class Rarity:
    """Inverse document frequencies of one field, log(1 + n / df) (Sparck Jones 1972)."""

    row: I32
    """Rows of the shared table that training saw, ascending, I32[k]."""
    seen: I64
    """Entities that have each, I64[k]."""
    entities: int
    """All entities of the training part."""

    @classmethod
    def fit(cls, cells: Cells, entities: int) -> Rarity:
        """Count in the cells of the training part; each entity has a row at most once."""
        row, seen = np.unique(cells.row, return_counts=True)
        return cls(row, seen.astype(np.int64), entities)

    def __call__(self, row: I32) -> F32:
        """Return the weight of table rows, F32[n]; one never seen counts as seen once."""
        seen = np.ones(len(row))
        if len(self.row):
            at = np.minimum(np.searchsorted(self.row, row), len(self.row) - 1)
            seen = np.where(self.row[at] == row, self.seen[at], seen)
        return np.log1p(max(self.entities, 1) / seen).astype(np.float32)

    def weigh(self, cells: Cells) -> Cells:
        """Weigh values by their rarity; the squares of an entity's weights still sum to 1."""
        rare = self(cells.row)
        square = np.bincount(cells.entity, weights=np.square(rare))
        return replace(cells, weight=(rare / np.sqrt(square[cells.entity])).astype(np.float32))
