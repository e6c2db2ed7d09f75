"""A log's slates in, what each brings to the value of another policy out: four ways to weigh.

With w the target's chance over the log's, r the reward, q a model of it and q_target its mean
under the target (DECISION 8), the value is a mean over the log of

ips     min(w, clip) r                                       (Horvitz and Thompson 1952)
snips   w r, divided by the mean of w                        (Swaminathan and Joachims 2015)
dr      q_target + w (r - q)                                 (Dudik, Langford and Li 2011)
dr_os   q_target + w shrink / (w^2 + shrink) (r - q)         (Su et al. 2020)

Weights of a slot: each row stands for itself, and the value is reward per row. Where propensities
are conditional on the slots before, as ours are, that answers for the target at this slot after the
log's own choices. Weights of prefixes: w of slot k is the product over the slots up to k (RIPS,
McInerney et al. 2020), q_target counts with the product before k (Cascade-DR, Kiyohara et al.
2022), and the value is reward per slate. That asks that a reward depends on no later slot.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from recsys.domain.arrays import F64
from recsys.domain.errors import SettingError
from recsys.domain.spec import Positive, Spec
from recsys.evaluate.logged import MODEL, Logged


class Weighing(Spec):
    """What the estimators share."""

    weights: Literal["slot", "prefix"] = "slot"
    """slot: each row for itself; prefix: slates, weighed by the product of ratios so far."""


class Ips(Weighing):
    """Rewards weighed by inverse propensity; right without any model, and wide."""

    kind: Literal["ips"] = "ips"
    clip: Positive = math.inf
    """Larger weights count as this much."""

    def __call__(self, log: Logged) -> tuple[F64, F64]:
        """Return numerators and denominators of the means of each slot, F64[n, N] each."""
        return np.minimum(log.weight, self.clip) * log.reward, np.ones_like(log.reward)


class Snips(Weighing):
    """Self-normalised: a reward counted twice as large is worth twice as much, and no more."""

    kind: Literal["snips"] = "snips"

    def __call__(self, log: Logged) -> tuple[F64, F64]:
        """Return numerators and denominators of the means of each slot, F64[n, N] each."""
        return log.weight * log.reward, log.weight


class Dr(Weighing):
    """Doubly robust: a model of rewards, corrected by what it missed; needs q and q_target."""

    kind: Literal["dr"] = "dr"

    def __call__(self, log: Logged) -> tuple[F64, F64]:
        """Return numerators and denominators of the means of each slot, F64[n, N] each."""
        return _corrected(log, log.weight), np.ones_like(log.reward)


class DrOs(Weighing):
    """Doubly robust with optimistic shrinkage: large weights correct less; needs q, q_target.

    A bias is taken for a narrower interval, which is widened by what the log shows of it.
    """

    kind: Literal["dr_os"] = "dr_os"
    shrink: Positive = 100.0
    """A weight whose square equals this counts half."""

    def __call__(self, log: Logged) -> tuple[F64, F64]:
        """Return numerators and denominators of the means of each slot, F64[n, N] each."""
        weight = log.weight
        shrunk = weight * (self.shrink / (np.square(weight) + self.shrink))
        return _corrected(log, shrunk), np.ones_like(log.reward)


Estimator = Annotated[Ips | Snips | Dr | DrOs, Field(discriminator="kind")]


def _corrected(log: Logged, weight: F64) -> F64:
    if log.model is None:
        raise SettingError(
            f"a doubly robust estimate needs the columns {' and '.join(MODEL)}",
            "do: add them with recsys.evaluate.rewards.cross_fitted, or ask for snips",
        )
    q, q_target = log.model
    terms: F64 = log.before * q_target + weight * (log.reward - q)
    return terms
