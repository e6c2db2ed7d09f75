"""Scores that rank in, chances that mean what they say out: isotonic steps or Platt's line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, F64, Bool

LEAST_FOR_STEPS = 1_000
"""Positives a stratum needs for isotonic steps; with fewer, Platt's two numbers (DECISION 2)."""
LEAST_FOR_A_STRATUM = 20
"""Positives without which a stratum is calibrated together with the other."""
TINY = 1e-9


@dataclass(frozen=True)
class Calibrator:
    """A rising map of chances, by their log-odds: linear between steps (x, y), or a line.

    Without steps it is the line in log-odds of `slope` and `offset`.
    """

    x: F64
    """Log-odds said, ascending, F64[k]."""
    y: F64
    """Chance meant, F64[k]."""
    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, chance: F32) -> F32:
        """Return calibrated chances of the same shape."""
        if len(self.x):
            stepped: F32 = np.interp(log_odds(chance), self.x, self.y).astype(np.float32)
            return stepped
        return sigmoid(self.slope * log_odds(chance) + self.offset)


def platt(chance: F32, outcome: Bool) -> Calibrator:
    """Fit slope and offset in log-odds by Newton's method, with Platt's (1999) softened targets."""
    score, nothing = log_odds(chance), np.zeros(0)
    positives = float(outcome.sum())
    negatives = len(outcome) - positives
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    target = np.where(outcome, high, low)
    if not len(outcome):
        return Calibrator(x=nothing, y=nothing)
    line = _descend(score, target, start=np.array([1.0, 0.0]))
    if line[0] <= 0:
        # chances that rank backwards say nothing: everyone gets the mean
        level = float(log_odds(np.array([target.mean()]))[0])
        return Calibrator(x=nothing, y=nothing, slope=0.0, offset=level)
    return Calibrator(x=nothing, y=nothing, slope=float(line[0]), offset=float(line[1]))


def _descend(score: F64, target: F64, *, start: F64) -> F64:
    """Return (slope, offset) of least log-loss: Newton's steps, halved until they gain."""
    line, loss = start, _loss(score, target, line=start)
    for _ in range(50):
        p = _chance(line[0] * score + line[1])
        weight = p * (1 - p)
        gradient = np.array([((p - target) * score).sum(), (p - target).sum()])
        cross = (weight * score).sum()
        hessian = np.array([[(weight * score**2).sum(), cross], [cross, weight.sum()]])
        step = np.linalg.solve(hessian + 1e-6 * np.eye(2), gradient)
        tried = _loss(score, target, line=line - step)
        while tried > loss and np.abs(step).max() > TINY:
            step /= 2
            tried = _loss(score, target, line=line - step)
        if tried > loss:
            break
        line, loss = line - step, tried
        if np.abs(step).max() < TINY:
            break
    return line


def _loss(score: F64, target: F64, *, line: F64) -> float:
    """Return the log-loss of a line in log-odds, a sum of log(1 + e^z) - target z."""
    z = line[0] * score + line[1]
    return float((np.logaddexp(0, z) - target * z).sum())


def _chance(score: F64) -> F64:
    # by tanh all chances would be multiples of 3e-8, and rare purchases would tie
    small = np.exp(-np.abs(score))
    chance: F64 = np.where(score >= 0, 1, small) / (1 + small)
    return chance


def log_odds(chance: F32 | F64) -> F64:
    """Return log(p / (1 - p)), finite."""
    p = np.clip(chance.astype(np.float64), TINY, 1 - TINY)
    return np.log(p / (1 - p))


def sigmoid(score: F64 | F32) -> F32:
    """Return 1 / (1 + e^-x), small chances as exact as large ones."""
    return _chance(score.astype(np.float64)).astype(np.float32)
