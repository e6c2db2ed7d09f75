"""Vectors of members or sales, with the outside world's ids."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recsys.domain.arrays import F32
from recsys.domain.idtable import IdTable

BLOCK = 65_536
"""Vectors looked at together: what is computed of them stays in the cache, never beside them."""
NEAR = 1e-4
"""How far from 1 a length may be."""


@dataclass(frozen=True)
class Embeddings:
    """One float32 row a member or sale; inner products rank exactly as the model does."""

    ids: np.ndarray | IdTable
    """Outside ids, str[n]."""
    vectors: F32
    """F32[n, dim]."""
    unit_dims: int
    """The first unit_dims coordinates have length 1; similarity uses these alone."""
    fingerprint: str
    """Of the model that made them: vectors of two models never meet."""

    def __post_init__(self) -> None:
        """Refuse what no index can rank: unequal lengths, non-finite numbers, wrong lengths."""
        if len(self.ids) != len(self.vectors) or self.vectors.dtype != np.float32:
            raise ValueError(f"{len(self.ids)} ids, {self.vectors.shape} {self.vectors.dtype}")
        for first in range(0, len(self.vectors), BLOCK):
            self._check(self.vectors[first : first + BLOCK])

    def _check(self, vectors: F32) -> None:
        unit, rest = vectors[:, : self.unit_dims], vectors[:, self.unit_dims :]
        squares = np.einsum("nd,nd->n", unit, unit)
        # a sum of squares that is near 1 has no other numbers in it than finite ones
        if not (np.abs(np.sqrt(squares) - 1) <= NEAR).all():
            if not np.isfinite(vectors).all():
                raise ValueError("vectors hold numbers that are not finite")
            raise ValueError(f"first {self.unit_dims} coordinates have lengths other than 1")
        if not np.isfinite(rest).all():
            raise ValueError("vectors hold numbers that are not finite")

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return int(self.vectors.shape[1])

    @property
    def unit(self) -> F32:
        """The part that measures likeness, F32[n, unit_dims], of length 1."""
        return self.vectors[:, : self.unit_dims]

    def cut(self, width: int) -> Embeddings:
        """Return the same vectors shortened to `width`, for models that learned this width too.

        The unit part loses its last coordinates and is brought back to length 1; what follows it
        (a bias) stays as it is.

        Raises:
            ValueError: the width leaves nothing of the unit part, or is that of no shorter vector.
        """
        kept = width - (self.dim - self.unit_dims)
        if not 1 <= kept <= self.unit_dims:
            raise ValueError(
                f"width {width} of vectors of {self.dim}, {self.unit_dims} of them unit"
            )
        unit = self.vectors[:, :kept]
        lengths = np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-6)
        vectors = np.concatenate((unit / lengths, self.vectors[:, self.unit_dims :]), axis=1)
        return replace(self, vectors=vectors, unit_dims=kept)
