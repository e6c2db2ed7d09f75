"""A dataset's content as 16 hex digits, the same in every process and polars version."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from recsys.domain.dataset import Dataset

ARRAYS = ("sale", "at", "kind", "channel", "flags", "value", "member_ptr")
"""The arrays of `Events`, in the order in which they are hashed and stored."""
FRAMES = ("members", "sales", "exposures", "curation", "stock")


def fingerprint(dataset: Dataset) -> str:
    """Return the first 16 hex digits of SHA-256 over settings, arrays and frames.

    Values are hashed as little-endian bytes, texts with their lengths, never as files.
    """
    seen = hashlib.sha256()
    facts = (dataset.name, dataset.zone, dataset.task, dataset.shelf_hours, dataset.watermark)
    _feed(seen, repr(facts).encode(), dataset.schema.model_dump_json().encode())
    for name in ARRAYS:
        array = np.ascontiguousarray(getattr(dataset.events, name))
        _feed(seen, name.encode(), array.astype(array.dtype.newbyteorder("<")).tobytes())
    for name in FRAMES:
        frame: pl.DataFrame = getattr(dataset, name)
        _feed(seen, name.encode(), str(frame.height).encode())
        for column in frame.iter_columns():
            _feed(seen, column.name.encode())
            _feed_column(seen, column)
    return seen.hexdigest()[:16]


def _feed(seen: hashlib._Hash, *parts: bytes) -> None:
    for part in parts:
        seen.update(len(part).to_bytes(8, "little"))
        seen.update(part)


def _feed_column(seen: hashlib._Hash, column: pl.Series) -> None:
    """Hash which values are missing, then the others."""
    _feed(seen, np.packbits(column.is_null().to_numpy()).tobytes())
    known = column.drop_nulls()
    if isinstance(known.dtype, pl.List):
        _feed(seen, known.list.len().cast(pl.Int64).to_numpy().astype("<i8").tobytes())
        _feed_column(seen, known.list.explode(empty_as_null=False))
    elif known.dtype == pl.String:
        _feed(seen, known.str.len_bytes().cast(pl.Int64).to_numpy().astype("<i8").tobytes())
        _feed(seen, "".join(known.to_list()).encode())
    elif isinstance(known.dtype, pl.Datetime):
        _feed(seen, known.dt.timestamp("us").to_numpy().astype("<i8").tobytes())
    else:
        numbers = known.cast(pl.UInt8) if known.dtype == pl.Boolean else known
        values = numbers.to_numpy()
        _feed(
            seen,
            values.dtype.kind.encode(),
            values.astype(values.dtype.newbyteorder("<")).tobytes(),
        )
