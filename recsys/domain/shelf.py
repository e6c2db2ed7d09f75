"""The sales on offer at an instant."""

from __future__ import annotations

from dataclasses import dataclass

from recsys.domain.arrays import I32, Bool


@dataclass(frozen=True)
class Shelf:
    """Sales that can be bought at `at`, ascending by row, and which of them an editor picked."""

    at: int
    """UTC microseconds."""
    sales: I32
    """Rows of the sales, I32[s]."""
    curated: Bool
    """Picked by an editor at `at`, Bool[s]."""

    def __len__(self) -> int:
        """Count the sales."""
        return len(self.sales)
