"""Scores that rank in, chances that mean what they say out: isotonic steps or Platt's line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsys.domain.arrays import F32, F64, I64, Bool

LEAST_FOR_STEPS = 1_000
"""Positives a stratum needs for isotonic steps; with fewer, Platt's two numbers (DECISION 2)."""
LEAST_FOR_A_STRATUM = 20
"""Positives without which a stratum is calibrated together with the other."""
TINY = 1e-9


@dataclass(frozen=True)
class Rows:
    """R pairs of a request and a sale of its shelf, of one block of time."""

    x: F32
    """Signals, F32[R, F]."""
    y: Bool
    """Outcomes, Bool[R]."""
    request: I64
    """Which request each pair is of, I64[R], ascending from 0."""
    sale: I64
    """Sale row of each pair, I64[R]: all who look at a sale share its luck."""

    @property
    def num_sales(self) -> int:
        """Count the sales."""
        return len(np.unique(self.sale))

    def total(self, chance: F32) -> F64:
        """Return the sum of chances F32[R] over the request of each pair, F64[R]."""
        of_request = np.bincount(self.request, chance).astype(np.float64)
        return of_request[self.request]


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

    def plain(self) -> dict[str, list[float] | float]:
        """Return it as JSON can keep it."""
        steps = {"log_odds": self.x.tolist(), "chance": self.y.tolist()}
        return {**steps, "slope": self.slope, "offset": self.offset}

    @classmethod
    def kept(cls, plain: Mapping[str, Any]) -> Calibrator:
        """Read what `plain` returned."""
        steps = np.array(plain["log_odds"]), np.array(plain["chance"])
        return cls(*steps, slope=plain["slope"], offset=plain["offset"])


def platt(chance: F32, outcome: Bool) -> Calibrator:
    """Fit slope and offset in log-odds by Newton's method, with Platt's (1999) softened targets."""
    score, nothing = log_odds(chance), np.zeros(0)
    positives = float(outcome.sum())
    negatives = len(outcome) - positives
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    target = np.where(outcome, high, low)
    if not len(outcome):
        return Calibrator(x=nothing, y=nothing)
    design = np.stack([score, np.ones_like(score)], axis=1)
    line = _descend(design, target, ridge=np.zeros(2))
    if line[0] <= 0:
        # chances that rank backwards say nothing: everyone gets the mean
        level = float(log_odds(np.array([target.mean()]))[0])
        return Calibrator(x=nothing, y=nothing, slope=0.0, offset=level)
    return Calibrator(x=nothing, y=nothing, slope=float(line[0]), offset=float(line[1]))


def crowding_of(chance: F32, total: F64, *, outcome: Bool, new: Bool) -> float:
    """Return how much of a request's total a chance is to be divided by, in [0, 1]; arrays [R].

    `total` sums the chances of the request that each row is of. A request stands in the log because
    something came of it (RULINGS 2): the more there was to choose from, the less is each sale's
    part. Log-odds are fitted by a line in those said, the log of the total, one, and `new`; the
    weight of the total over that of the log-odds is what is returned, below zero. 0: outcomes grow
    with the total, as those of members who buy more; 1: all requests bring alike.
    """
    alone = np.allclose(total, chance, rtol=1e-4)
    if alone or not outcome.any() or outcome.all():
        return 0.0
    one = np.ones(len(total))
    design = np.stack([log_odds(chance), _log(total), one, new.astype(np.float64)], axis=1)
    # where most requests have one sale, total and chance say the same: the total is not believed
    line = _descend(design, outcome.astype(np.float64), ridge=np.array([0.0, 1.0, 0.0, 0.0]))
    return float(np.clip(-line[1] / line[0], 0.0, 1.0)) if line[0] > 0 else 0.0


def crowded(chance: F32, total: F64, crowding: float) -> F32:
    """Divide the odds of chances by total^crowding; the arrays broadcast."""
    return chance if crowding == 0 else sigmoid(log_odds(chance) - crowding * _log(total))


def _log(total: F64) -> F64:
    logs: F64 = np.log(np.maximum(total, TINY))
    return logs


def _descend(design: F64, target: F64, *, ridge: F64) -> F64:
    """Return the weights F64[k] of least log-loss of a design F64[R, k].

    Newton's steps from (1, 0, ...), halved until they gain; the square of a weight costs half of
    its `ridge` F64[k].
    """
    line: F64 = np.eye(len(ridge))[0]
    loss = _loss(design, target, line=line, ridge=ridge)
    for _ in range(50):
        p = _chance(design @ line)
        gradient = design.T @ (p - target) + ridge * line
        hessian = design.T @ (design * (p * (1 - p))[:, None]) + np.diag(ridge + 1e-6)
        step = np.linalg.solve(hessian, gradient)
        tried = _loss(design, target, line=line - step, ridge=ridge)
        while tried > loss and np.abs(step).max() > TINY:
            step /= 2
            tried = _loss(design, target, line=line - step, ridge=ridge)
        if tried > loss:
            break
        line, loss = line - step, tried
        if np.abs(step).max() < TINY:
            break
    return line


def _loss(design: F64, target: F64, *, line: F64, ridge: F64) -> float:
    """Return the log-loss of weights, a sum of log(1 + e^z) - target z, and what they cost."""
    z = design @ line
    return float((np.logaddexp(0, z) - target * z).sum() + (ridge * line**2).sum() / 2)


def _chance(score: F64) -> F64:
    # by tanh all chances would be multiples of 3e-8, and rare purchases would tie
    small = np.exp(-np.abs(score))
    chance: F64 = np.where(score >= 0, 1, small) / (1 + small)
    return chance


def log_loss(chance: F32, outcome: Bool) -> F64:
    """Return -log of the chance given to what happened, F64[R]."""
    p = np.clip(chance.astype(np.float64), 1e-7, 1 - 1e-7)
    loss: F64 = -np.where(outcome, np.log(p), np.log1p(-p))
    return loss


def clearly_above_zero(gain: F64, sale: I64) -> bool:
    """Say whether the mean of gains F64[R] is above two standard errors, whole sales I64[R] drawn.

    Rows of one sale share its luck: as independent rows they would look several times surer.
    """
    _, row = np.unique(sale, return_inverse=True)
    apart = np.bincount(row, gain - gain.mean()) if len(gain) else np.zeros(0)
    return bool(gain.sum() > 2 * np.sqrt((apart**2).sum()))


def log_odds(chance: F32 | F64) -> F64:
    """Return log(p / (1 - p)), finite."""
    p = np.clip(chance.astype(np.float64), TINY, 1 - TINY)
    return np.log(p / (1 - p))


def sigmoid(score: F64 | F32) -> F32:
    """Return 1 / (1 + e^-x), small chances as exact as large ones."""
    return _chance(score.astype(np.float64)).astype(np.float32)
