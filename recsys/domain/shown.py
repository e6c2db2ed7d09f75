"""What members were shown, whether they cared or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import I32, I64


@dataclass(frozen=True)
class Shown:
    """x exposures sorted by (member, at)."""

    sale: I32
    """Sale row, I32[x]."""
    at: I64
    """UTC us, I64[x]."""
    member_ptr: I64
    """Exposures of member m are [member_ptr[m], member_ptr[m + 1])."""

    def __post_init__(self) -> None:
        """Refuse arrays of unequal length or pointers that do not cover them."""
        if {len(self.sale), len(self.at)} != {int(self.member_ptr[-1])} or self.member_ptr[0] != 0:
            raise ValueError(
                f"exposures of {len(self.sale)} sales at {len(self.at)} instants, "
                f"pointers to {self.member_ptr[-1]}"
            )

    def __len__(self) -> int:
        """Count the exposures."""
        return len(self.sale)

    @classmethod
    def nothing(cls, num_members: int) -> Shown:
        """Return the exposures of members who were shown nothing that is on record."""
        return cls(
            sale=np.zeros(0, dtype=np.int32),
            at=np.zeros(0, dtype=np.int64),
            member_ptr=np.zeros(num_members + 1, dtype=np.int64),
        )

    def where(self, keep: np.ndarray) -> Shown:
        """Keep the exposures where the Bool[x] mask is true; order and members stay."""
        kept_before = np.concatenate(([0], np.cumsum(keep, dtype=np.int64)))
        return Shown(self.sale[keep], self.at[keep], kept_before[self.member_ptr])
