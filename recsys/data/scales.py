"""Raw numbers in, standardised numbers out: what is fitted on the towers' block alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys.domain.arrays import F32, F64, I64
from recsys.domain.schema import Numeric

FARTHEST = 10.0
"""Standard deviations beyond which a number says no more."""
EIGENVALUE_FLOOR = 1e-5
"""Of the largest eigenvalue: weaker directions are noise that whitening would blow up."""
ROUNDING = 1e-9
"""Share of the largest number below which a deviation is rounding."""
BLOCK = 1024
"""Vectors whitened at once: always this many, so that no row hangs on how many follow."""


@dataclass(frozen=True)
class Scale:
    """Mean, deviation and bucket edges of a numeric column."""

    log: bool
    mean: float
    deviation: float
    edges: tuple[float, ...]
    """Inner borders of the quantile buckets, ascending; empty = no buckets."""

    @classmethod
    def fit(cls, feature: Numeric, values: pl.Series) -> Scale:
        """Measure the known values of the training part; none known = scale 1 around 0."""
        known = _transformed(values, log=feature.log)
        known = known[np.isfinite(known)]
        if not len(known):
            return cls(feature.log, mean=0.0, deviation=1.0, edges=())
        inner = np.arange(1, feature.buckets) / max(feature.buckets, 1)
        return cls(
            log=feature.log,
            mean=float(known.mean()),
            deviation=_deviation(known),
            edges=tuple(np.unique(np.quantile(known, inner)).tolist()) if len(inner) else (),
        )

    def dense(self, values: pl.Series) -> F32:
        """Standardise, F32[n]; 0 where not known, at most FARTHEST deviations."""
        scaled = (_transformed(values, log=self.log) - self.mean) / self.deviation
        return np.nan_to_num(np.clip(scaled, -FARTHEST, FARTHEST)).astype(np.float32)

    def known(self, values: pl.Series) -> np.ndarray:
        """Return which values are numbers, Bool[n]."""
        return np.isfinite(_transformed(values, log=self.log))

    def bucket(self, values: pl.Series) -> I64:
        """Return the quantile bucket of each value, I64[n]; meaningless where not known."""
        transformed = _transformed(values, log=self.log)
        return np.searchsorted(np.array(self.edges), transformed, side="right").astype(np.int64)


def _deviation(known: F64) -> float:
    """Return the standard deviation; 1 where all are one number but for rounding."""
    deviation = float(known.std())
    return deviation if deviation > ROUNDING * np.abs(known).max() else 1.0


def _transformed(values: pl.Series, *, log: bool) -> F64:
    """Return float64 with NaN for null and infinite; the logarithm keeps the sign."""
    numbers = values.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    numbers = np.where(np.isfinite(numbers), numbers, np.nan)
    transformed: F64 = np.sign(numbers) * np.log1p(np.abs(numbers)) if log else numbers
    return transformed


@dataclass(frozen=True)
class Whitening:
    """Centres vectors and gives every kept direction variance 1 (PCA; WhitenRec 2024)."""

    mean: F32
    """F32[d]."""
    matrix: F32
    """F32[d, k]: eigenvectors divided by the roots of their eigenvalues."""

    @classmethod
    def fit(cls, vectors: F32, dim: int) -> Whitening:
        """Measure F32[n, d] of the training part; keep the strongest min(dim, d) directions.

        Eigenvalues are floored at EIGENVALUE_FLOOR of the largest; no vectors, or all of them one
        but for rounding = all zero.
        """
        width = vectors.shape[1]
        keep = min(dim, width)
        zero = np.zeros((width, keep), dtype=np.float32)
        if not len(vectors):
            return cls(mean=np.zeros(width, dtype=np.float32), matrix=zero)
        mean = vectors.mean(axis=0, dtype=np.float64)
        values: F64
        values, directions = np.linalg.eigh(
            np.atleast_2d(np.cov(vectors.T, bias=True, dtype=np.float64))
        )
        strongest = slice(None, -keep - 1, -1)
        values, directions = values[strongest], directions[:, strongest]
        largest = float(values[0])
        if largest <= (ROUNDING * float(np.abs(vectors).max(initial=0.0))) ** 2:
            return cls(mean=mean.astype(np.float32), matrix=zero)
        # an eigenvector's sign is arbitrary: its largest entry is made positive
        signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(keep)])
        matrix = directions * signs / np.sqrt(values.clip(EIGENVALUE_FLOOR * largest))
        return cls(mean=mean.astype(np.float32), matrix=matrix.astype(np.float32))

    def __call__(self, vectors: F32) -> F32:
        """Whiten F32[n, d] into F32[n, k]."""
        whitened = np.empty((len(vectors), self.matrix.shape[1]), dtype=np.float32)
        block = np.zeros((BLOCK, len(self.mean)), dtype=np.float32)
        for start in range(0, len(vectors), BLOCK):
            part = vectors[start : start + BLOCK]
            block[: len(part)] = part - self.mean
            whitened[start : start + BLOCK] = (block @ self.matrix)[: len(part)]
        return whitened.clip(np.float32(-FARTHEST), np.float32(FARTHEST))
