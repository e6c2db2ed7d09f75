"""How records are written: instants, names, and the errors that records have."""

from __future__ import annotations

import numpy as np
import polars as pl

from recsys.domain.arrays import I64
from recsys.world.draws import U64, draws

MISSING = 0.05
"""Part of the fields that nobody filled in."""
WRONG = 0.01
"""Part of the fields that hold another's value."""


def instants(at: I64) -> pl.Series:
    """Turn UTC microseconds into instants."""
    return pl.Series(at, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))


def named(codes: np.ndarray, names: list[str]) -> pl.Series:
    """Turn codes into names."""
    return pl.Series(names, dtype=pl.String).gather(codes)


def absent(values: pl.Series, where: np.ndarray) -> pl.Series:
    """Take values away where the mask is true."""
    return values.set(pl.Series(where), None)


def blurred(values: np.ndarray, key: U64, *purpose: int) -> pl.Series:
    """Lose `MISSING` of the values and put another's value in `WRONG` of them."""
    luck = draws(key, 2, *purpose)
    other = np.floor(luck[:, 1] * len(values)).astype(np.int64)
    mixed = np.where(luck[:, 0] > 1 - WRONG, values[other], values)
    return absent(pl.Series(mixed, dtype=pl.String), luck[:, 0] < MISSING)


def lists(row: I64, values: pl.Series, *, count: int) -> pl.Series:
    """Collect values (their rows ascending) into one list a row, without repeats."""
    gathered = (
        pl
        .DataFrame({"row": row, "value": values})
        .group_by("row", maintain_order=True)
        .agg(pl.col("value").unique(maintain_order=True))
    )
    whole = pl.DataFrame({"row": np.arange(count)}).join(
        gathered, on="row", how="left", maintain_order="left"
    )
    nothing = pl.lit([], dtype=pl.List(pl.String))
    return whole.select(pl.col("value").fill_null(nothing)).to_series()
