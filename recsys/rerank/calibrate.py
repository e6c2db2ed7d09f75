"""Scores that rank in, chances that mean what they say out: isotonic steps or Platt's line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, F64, Bool

LEAST_FOR_STEPS = 1_000
"""Positives a stratum needs for isotonic steps; with fewer, Platt's two numbers (DECISION 2)."""
LEAST_FOR_A_STRATUM = 20
"""Positives without which a stratum is calibrated together with the other."""
TINY = 1e-6


@dataclass(frozen=True)
class Calibrator:
    """A rising map of chances: linear between steps (x, y), or in log-odds where `x` is empty."""

    x: F64
    y: F64
    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, chance: F32) -> F32:
        """Return calibrated chances of the same shape."""
        if len(self.x):
            stepped: F32 = np.interp(chance, self.x, self.y).astype(np.float32)
            return stepped
        return sigmoid(self.slope * log_odds(chance) + self.offset)


def platt(chance: F32, outcome: Bool) -> Calibrator:
    """Fit slope and offset in log-odds by Newton's method, with Platt's (1999) softened targets."""
    score, nothing = log_odds(chance), np.zeros(0)
    positives = float(outcome.sum())
    negatives = len(outcome) - positives
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    target = np.where(outcome, high, low)
    slope, offset = 1.0, 0.0
    for _ in range(50):
        p = sigmoid(slope * score + offset).astype(np.float64)
        weight = np.maximum(p * (1 - p), 1e-9)
        gradient = np.array([((p - target) * score).sum(), (p - target).sum()])
        cross = (weight * score).sum()
        hessian = np.array([[(weight * score**2).sum() + 1e-6, cross], [cross, weight.sum()]])
        step = np.linalg.solve(hessian, gradient)
        slope, offset = slope - step[0], offset - step[1]
        if np.abs(step).max() < 1e-8:
            break
    return Calibrator(x=nothing, y=nothing, slope=max(float(slope), TINY), offset=float(offset))


def log_odds(chance: F32 | F64) -> F64:
    """Return log(p / (1 - p)), finite."""
    p = np.clip(chance.astype(np.float64), TINY, 1 - TINY)
    return np.log(p / (1 - p))


def sigmoid(score: F64 | F32) -> F32:
    """Return 1 / (1 + e^-x) without overflow."""
    chance: F32 = (0.5 * (1 + np.tanh(0.5 * score))).astype(np.float32)
    return chance
