"""Members and sales as numbers: hashed bags and standardised columns, ready for towers."""

from __future__ import annotations

from dataclasses import dataclass

from recsys.domain.arrays import F32, I16, I32, I64


@dataclass(frozen=True)
class Features:
    """n entities: a CSR bag of rows of one shared table, and dense columns (MODEL 2.1)."""

    ptr: I64
    """I64[n + 1]: entity i owns [ptr[i], ptr[i + 1])."""
    row: I32
    """Row of the shared table, I32[nnz], in [0, table_rows)."""
    field: I16
    """Which field the value belongs to, I16[nnz], index into `fields`."""
    weight: F32
    """How much the value says; squares sum to 1 in each field of an entity, F32[nnz]."""
    fields: tuple[str, ...]
    """Names of the hashed fields."""
    missing_row: I32
    """Row that stands for "not known", I32[len(fields)]: field dropout puts it in."""
    dense: F32
    """Standardised numbers, cycles and whitened vectors, F32[n, q]; 0 where missing."""
    dense_names: tuple[str, ...]

    @property
    def num(self) -> int:
        """Count the entities."""
        return len(self.ptr) - 1


@dataclass(frozen=True)
class Encoded:
    """All the towers know of members and sales besides history."""

    members: Features
    sales: Features
    table_rows: int
    """Rows of the shared table, a power of two."""
    collision_share: float
    """Share of distinct values that share a row with another, text n-grams not counted."""
    fingerprint: str
    """Of the fitted encoders: edges, means, whitening, rarities."""
