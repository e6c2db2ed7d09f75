"""Vectors as a frame that other programs read, in fewer bytes if asked, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, assert_never

import numpy as np
import polars as pl

from recsys.domain.arrays import F32
from recsys.domain.artefact import open_artefact
from recsys.domain.embeddings import Embeddings
from recsys.domain.errors import BrokenArtefactError, MissingArtefactError

Dtype: TypeAlias = Literal["fp32", "fp16", "int8"]
BYTES: Mapping[Dtype, int] = {"fp32": 4, "fp16": 2, "int8": 1}
"""Of a number."""
SCALES: Mapping[Dtype, int] = {"fp32": 0, "fp16": 0, "int8": 12}
"""Bytes of the scales of a vector."""
BLOCK = 4096
"""Vectors rounded at a time: what is computed on the way stays in the cache."""
LONGEST = 127
"""The largest number of int8 that has its negative."""


@dataclass(frozen=True)
class Packing:
    """How vectors are written.

    int8 has three scales for each vector: of the unit part, of the bias behind it, and of the
    spectral coordinates behind that. They differ in size by several times, and the smaller ones
    would share the coarse steps of the largest.
    """

    dtype: Dtype
    unit_dims: int

    def __call__(self, vectors: F32) -> dict[str, pl.Series]:
        """Return the columns of vectors F32[n, dim]: vector (fixed list), and for int8 its scales.

        With these a number is vector * scale, within half a scale.
        """
        match self.dtype:
            case "fp32":
                return {"vector": _listed(vectors, pl.Float32)}
            case "fp16":
                return {"vector": _listed(vectors.astype(np.float16), pl.Float16)}
            case "int8":
                steps, scales = self._stepped(vectors)
                return {"vector": _listed(steps, pl.Int8), "scale": _listed(scales, pl.Float32)}
            case _:
                assert_never(self.dtype)

    def unpack(self, columns: Mapping[str, pl.Series] | pl.DataFrame) -> F32:
        """Return the vectors of columns that this packing made, F32[n, dim]."""
        vectors: F32 = columns["vector"].to_numpy().astype(np.float32)
        if self.dtype == "int8":
            widths = [part.shape[1] for part in self._parts(vectors)]
            vectors *= columns["scale"].to_numpy().repeat(widths, axis=1)
        return vectors

    def _stepped(self, vectors: F32) -> tuple[np.ndarray, F32]:
        """Return whole steps int8[n, dim] and the scales of each vector, F32[n, parts]."""
        steps = np.empty(vectors.shape, dtype=np.int8)
        scales = np.empty((len(vectors), len(self._parts(vectors))), dtype=np.float32)
        for first in range(0, len(vectors), BLOCK):
            rows = slice(first, first + BLOCK)
            parts = [_steps(part) for part in self._parts(vectors[rows])]
            steps[rows], scales[rows] = (
                np.concatenate(of_all, axis=1) for of_all in zip(*parts, strict=True)
            )
        return steps, scales

    def _parts(self, vectors: F32) -> list[F32]:
        """Return views of the unit part, of the bias, and of what follows it, if anything does."""
        return np.split(vectors, (self.unit_dims, self.unit_dims + 1), axis=1)

    def rounded(self, vectors: F32) -> F32:
        """Return what a reader gets of vectors F32[n, dim]."""
        return self.unpack(self(vectors))

    def frame(self, vectors: Embeddings, rows: slice = slice(None)) -> pl.DataFrame:
        """Return some vectors as a frame: id (str), and what the packing makes of them."""
        ids = pl.Series(vectors.ids[rows], dtype=pl.String)
        return pl.DataFrame({"id": ids, **self(vectors.vectors[rows])})


def read_vectors(folder: Path, what: Literal["members", "sales"]) -> Embeddings:
    """Verify an export and return its vectors in float32, in the order of its files.

    The unit part of rounded vectors is brought back to length 1.

    Raises:
        MissingArtefactError: no export is there, or it was made without these vectors.
        BrokenArtefactError, OldLayoutError: it cannot be used.
    """
    manifest = open_artefact(folder, "export")
    said: Any = manifest.extra
    if not isinstance(said, Mapping) or "dtype" not in said:
        raise BrokenArtefactError(f"{folder} does not say how it was packed", "export again")
    if what not in manifest.counts:
        raise MissingArtefactError(
            f"{folder} holds no {what}", f"make them: recsys export what=[{what}]"
        )
    packing = Packing(said["dtype"], int(said["unit_dims"]))
    frame = pl.read_parquet(folder / what / "*.parquet")
    vectors = packing.unpack(frame)
    if packing.dtype != "fp32":
        unit = vectors[:, : packing.unit_dims]
        unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-6)
    ids = frame["id"].to_numpy().astype(np.str_)
    return Embeddings(ids, vectors, packing.unit_dims, str(said["model"]))


def _listed(vectors: np.ndarray, kind: type[pl.DataType]) -> pl.Series:
    return pl.Series(vectors, dtype=pl.Array(kind, vectors.shape[1]))


def _steps(part: F32) -> tuple[np.ndarray, F32]:
    """Return whole steps int8[n, k] and their size F32[n, 1]; the longest number is 127 steps."""
    longest = np.abs(part).max(axis=1, keepdims=True, initial=0.0)
    # nothing but zeros has a scale too
    scale = np.maximum(longest / np.float32(LONGEST), np.finfo(np.float32).tiny)
    return np.rint(part / scale).astype(np.int8), scale
