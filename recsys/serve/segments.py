"""Segments of members in; out, the vector of somebody of whom nothing else is known.

A segment is a value of a column that members are described by, as region=North. Beside what
everybody likes it has its own leaning: the mean vector of its members less that of all. Leanings
of the segments that somebody is in add up, several of one column weighed as the towers weigh them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from recsys.data.described import texts_of
from recsys.domain.arrays import F32, I64, Bool
from recsys.domain.dataset import Dataset
from recsys.domain.embeddings import BLOCK, Embeddings
from recsys.domain.errors import SettingError
from recsys.domain.schema import Bag, Categorical
from recsys.serve.mapped import mapped, save

FOLDER = "segments"
"""Below a bundle: `everyone.npy`, `leaning.npy`, and which columns and values they are of."""
LEAST = 20
"""Members below whom a segment is not kept: nobody is to be seen in it (RELIABILITY 7)."""
MOST = 10_000
"""Segments kept, the largest."""
BELIEF = 20.0
"""Members' worth of belief in what everybody likes."""


@dataclass(frozen=True)
class Segments:
    """What everybody likes, and the leanings of g segments."""

    columns: tuple[str, ...]
    """By which members are described, those without a segment among them."""
    named: tuple[tuple[str, str], ...]
    """Column and value of each segment, g of them."""
    everyone: F32
    """Mean vector of those who consent to personal slates, F32[dim]."""
    leaning: F32
    """Mean vector of each segment less that of everyone, shrunken, F32[g, dim]."""
    bags: tuple[str, ...] = ()
    """Columns that may hold several values."""

    def __post_init__(self) -> None:
        """Refuse leanings that are not those of the segments, or no numbers."""
        if self.leaning.shape != (len(self.named), len(self.everyone)):
            raise ValueError(f"{len(self.named)} segments have leanings {self.leaning.shape}")
        if not (np.isfinite(self.leaning).all() and np.isfinite(self.everyone).all()):
            raise ValueError("segments hold numbers that are not finite")

    def vector(self, said: Mapping[str, object]) -> F32 | None:
        """Return the vector of a member of whom this is said, F32[dim]; None = of no segment.

        Raises:
            SettingError: members have no such column, or it holds no such thing.
        """
        known = list(starmap(self._rows, said.items()))
        if not any(map(len, known)):
            return None
        vector = self.everyone.astype(np.float64)
        for rows in known:
            if len(rows):
                vector += self.leaning[rows].sum(axis=0, dtype=np.float64) / np.sqrt(len(rows))
        return vector.astype(np.float32)

    def _rows(self, column: str, value: object) -> I64:
        if column not in self.columns:
            near = get_close_matches(column, self.columns, n=1)
            raise SettingError(
                f"members have no column '{column}'" + (f": '{near[0]}'?" if near else ""),
                f"columns are: {', '.join(self.columns) or 'none'}",
            )
        texts = texts_of(column, value, many=column in self.bags)
        rows = {self._row[column, text] for text in texts if (column, text) in self._row}
        return np.array(sorted(rows), dtype=np.int64)

    @cached_property
    def _row(self) -> Mapping[tuple[str, str], int]:
        return {name: row for row, name in enumerate(self.named)}


def segments_of(dataset: Dataset, members: Embeddings) -> Segments | None:
    """Return the segments of a shop by vectors of all its members; None = too few consent.

    Only members who consent to personal slates count, and no column that is marked sensitive.
    """
    consents = dataset.members["consent_personalise"].to_numpy()
    everyone = np.flatnonzero(consents)
    if len(everyone) < LEAST:
        return None
    # the few outside a segment would be seen in what it leaves of everybody
    known = [one for one in _segments(dataset, consents) if len(everyone) - len(one[1]) >= LEAST]
    found = sorted(known, key=lambda one: (-len(one[1]), one[0]))[:MOST]
    means = _means([everyone, *(rows for _, rows in found)], members.vectors)
    sizes = np.array([len(rows) for _, rows in found], dtype=np.float64)[:, None]
    leaning = (means[1:] - means[0]) * (sizes / (sizes + BELIEF))
    return Segments(
        columns=tuple(feature.column for feature in dataset.schema.members),
        named=tuple(name for name, _ in found),
        everyone=means[0].astype(np.float32),
        leaning=leaning.astype(np.float32),
        bags=tuple(one.column for one in dataset.schema.members if isinstance(one, Bag)),
    )


def _segments(dataset: Dataset, consents: Bool) -> Iterator[tuple[tuple[str, str], I64]]:
    """Yield the name of each segment and its consenting members, of those with enough of them."""
    for feature in dataset.schema.members:
        if feature.sensitive or not isinstance(feature, Categorical | Bag):
            continue
        values = dataset.members[feature.column]
        table = pl.DataFrame({"value": values, "row": np.arange(len(values))})
        if isinstance(feature, Bag):
            table = table.explode("value")
        groups = (
            table
            .filter(pl.Series(consents)[pl.Series(table["row"])])
            .with_columns(pl.col("value").cast(pl.String))
            .drop_nulls()
            .unique()
            .group_by("value")
            .agg(pl.col("row").sort())
            .filter(pl.col("row").list.len() >= LEAST)
        )
        for value, rows in zip(groups["value"], groups["row"], strict=True):
            yield (feature.column, value), rows.to_numpy()


def _means(groups: Sequence[I64], vectors: F32) -> np.ndarray:
    """Return the mean vector of each group of rows, F64[g, dim], a block of members at a time."""
    sizes = np.array([len(rows) for rows in groups])
    group, row = np.repeat(np.arange(len(groups)), sizes), np.concatenate(groups)
    order = np.argsort(row, kind="stable")
    group, row = group[order], row[order]
    sums = np.zeros((len(groups), vectors.shape[1]))
    for first in range(0, len(vectors), BLOCK):
        some = slice(*np.searchsorted(row, [first, first + BLOCK]))
        block = vectors[first : first + BLOCK].astype(np.float64)
        where = (group[some], row[some] - first)
        one = np.ones(len(where[0]))
        inside = sparse.csr_array((one, where), shape=(len(groups), len(block)))
        sums += np.asarray(inside @ block)
    means: np.ndarray = sums / sizes[:, None]
    return means


def write(segments: Segments | None, bundle: Path) -> None:
    """Write segments into a new folder of a bundle; None = it has none."""
    if segments is None:
        return
    save(bundle / FOLDER, everyone=segments.everyone, leaning=segments.leaning)
    said = {"columns": segments.columns, "named": segments.named, "bags": segments.bags}
    (bundle / FOLDER / "named.json").write_text(json.dumps(said), encoding="utf-8")


def read(bundle: Path) -> Segments | None:
    """Read the segments of a bundle; None where it has none.

    Raises:
        ValueError: names and leanings do not belong together.
    """
    folder = bundle / FOLDER
    if not folder.is_dir():
        return None
    said: Mapping[str, Any] = json.loads((folder / "named.json").read_bytes())
    return Segments(
        columns=tuple(said["columns"]),
        named=tuple((column, value) for column, value in said["named"]),
        everyone=mapped(folder, "everyone"),
        leaning=mapped(folder, "leaning"),
        bags=tuple(said["bags"]),
    )
