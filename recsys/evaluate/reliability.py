"""Do chances mean what they say: what was foretold against what happened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, F64, I64, Bool


@dataclass(frozen=True)
class Reliability:
    """b bins of about equal size, by rising prediction."""

    predicted: F64
    """Mean prediction in each bin, F64[b]."""
    rate: F64
    """Share of outcomes in each bin, F64[b]."""
    low: F64
    """Lower end of the rate's 95 % interval (Wilson 1927), F64[b]."""
    high: F64
    """Upper end, F64[b]."""
    n: I64
    """Rows in each bin, I64[b]."""
    ratio: float
    """Sum of predictions over sum of outcomes: 1 is calibrated; NaN without outcomes."""
    error: float
    """Expected calibration error: mean distance of prediction and rate, weighted by rows."""


def reliability(value: F32, outcome: Bool, *, bins: int = 10) -> Reliability:
    """Sort predictions F32[n] into bins of equal mass and set them against outcomes Bool[n].

    Intervals take rows as independent. Equal predictions may fall on both sides of an edge.

    Raises:
        ValueError: the arrays are empty or of unequal length.
    """
    if len(value) != len(outcome) or not len(value):
        raise ValueError(f"{len(value)} predictions for {len(outcome)} outcomes")
    order = np.argsort(value, kind="stable")
    edges = np.unique(np.linspace(0, len(value), bins + 1).astype(np.int64))
    n = np.diff(edges)
    predicted = np.add.reduceat(value[order].astype(np.float64), edges[:-1]) / n
    rate = np.add.reduceat(outcome[order].astype(np.float64), edges[:-1]) / n
    low, high = wilson(rate, n)
    happened = float(outcome.sum())
    return Reliability(
        predicted=predicted,
        rate=rate,
        low=low,
        high=high,
        n=n,
        ratio=float(value.sum(dtype=np.float64)) / happened if happened else float("nan"),
        error=float(np.abs(predicted - rate) @ n / len(value)),
    )


def wilson(rate: F64, n: I64, z: float = 1.959964) -> tuple[F64, F64]:
    """Return the ends of the interval of a share F64[b] of n I64[b] rows (Wilson 1927)."""
    centre = rate + z**2 / (2 * n)
    reach = z * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    return np.maximum((centre - reach) / scale, 0.0), np.minimum((centre + reach) / scale, 1.0)
