"""Values in, rows of the one shared table out: the same on every machine, in every process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from recsys.domain.arrays import I32

MISSING = "\x00"
"""Stands for "not known": no canonical value is this byte."""


def table_row(salt: str, value: str, bits: int) -> int:
    """Hash a field's value into [0, 2^bits): blake2b-8 of field, 0x1F, UTF-8 bytes (MODEL 2.1)."""
    digest = blake2b(f"{salt}\x1f{value}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") & ((1 << bits) - 1)


@dataclass(frozen=True)
class Hasher:
    """Hashes each distinct value once and knows how many share a row."""

    bits: int
    rows_of: dict[str, dict[str, int]] = field(default_factory=dict)
    """Field salt -> value -> row."""

    def rows(self, salt: str, values: Iterable[str]) -> I32:
        """Return the table row of each value, I32[n]; they count as values of the field."""
        known = self.rows_of.setdefault(salt, {})
        for value in values:
            if value not in known:
                known[value] = table_row(salt, value, self.bits)
        return np.fromiter((known[value] for value in values), dtype=np.int32)

    def collision_share(self) -> float:
        """Return the share of distinct values that share their row with another value."""
        rows = [row for known in self.rows_of.values() for row in known.values()]
        _, counts = np.unique(np.array(rows, dtype=np.int64), return_counts=True)
        return float(counts[counts > 1].sum() / max(len(rows), 1))
