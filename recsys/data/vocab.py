"""Ids of the outside world in, rows of ours out, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from recsys.domain.arrays import I32, I64, NONE


@dataclass(frozen=True)
class Vocab:
    """The ids of members or sales, in the order of their rows."""

    ids: pl.Series
    """Text, distinct."""

    def __post_init__(self) -> None:
        """Refuse ids that would name two rows."""
        if self.ids.n_unique() != len(self.ids):
            raise ValueError(f"{len(self.ids) - self.ids.n_unique()} ids stand twice")

    def __len__(self) -> int:
        """Count the ids."""
        return len(self.ids)

    @cached_property
    def _table(self) -> pl.DataFrame:
        return pl.DataFrame({"id": self.ids.cast(pl.String)}).with_row_index("row")

    def rows(self, ids: pl.Series | Sequence[str]) -> I32:
        """Return the row of each id, I32[n]; NONE where it is not known."""
        asked = pl.DataFrame({"id": pl.Series(ids, dtype=pl.String)})
        found = asked.join(self._table, on="id", how="left", maintain_order="left")
        return found["row"].cast(pl.Int32).fill_null(NONE).to_numpy()

    def names(self, rows: I32 | I64) -> pl.Series:
        """Return the id of each row, text[n]; null for NONE."""
        known = np.asarray(rows) != NONE
        ids = self.ids.gather(np.where(known, rows, 0)) if len(self.ids) else self.ids
        return pl.select(pl.when(pl.Series(known)).then(ids)).to_series().alias("id")
