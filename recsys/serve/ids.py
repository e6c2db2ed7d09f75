"""Ids of the outside world become rows here, at the door, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from recsys.domain.arrays import I64, NONE


class Ids:
    """Finds the row of an id by binary search: no object is kept for each of them."""

    def __init__(self, ids: pl.Series) -> None:
        """Sort str[n].

        Raises:
            ValueError: an id is missing or stands there twice.
        """
        self._row = ids.arg_sort()
        self._sorted = ids.gather(self._row)
        if ids.null_count():
            raise ValueError(f"{ids.null_count()} ids of column {ids.name} are missing")
        twice = self._sorted.filter(self._sorted == self._sorted.shift(1))
        if len(twice):
            raise ValueError(f"{len(twice)} ids of column {ids.name} stand there twice")

    def rows(self, asked: Sequence[str]) -> I64:
        """Return the row of each id, I64[k]; NONE where it is not known."""
        if not len(self._sorted):
            return np.full(len(asked), NONE, dtype=np.int64)
        wanted = pl.Series(asked, dtype=pl.String)
        place = self._sorted.search_sorted(wanted).clip(0, len(self._sorted) - 1)
        known = (self._sorted.gather(place) == wanted).to_numpy()
        return np.where(known, self._row.gather(place).to_numpy().astype(np.int64), NONE)
