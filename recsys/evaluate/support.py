"""Weights in, whether a log can answer at all out: a gate that no setting overrules (DECISION 8).

A log answers a question about another policy only where it showed what that policy would show. The
gate measures that and nothing else; how wide an answer is, its interval says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys.domain.arrays import F32, F64, Bool
from recsys.domain.spec import Spec

MIN_ESS = 1_000.0
"""Slates that the weighted log must be worth. The measure is Kish's (1965); Owen (2013, 9.3) uses
it for importance weights. It also holds the standard error of the mean weight under 3.2 %."""
MIN_ESS_SHARE = 0.05
"""Share of the log that the weights must leave in use."""
MAX_ERRORS = 3.0
"""Standard errors within which the mean weight must lie of 1, what it is where propensities are
right and support is whole: the arithmetic-mean test of Li, Kim and Zitouni (WSDM 2015)."""
MAX_MISSING = 0.01
"""Share of the target's slates that the log could never show. Ours."""
MAX_LEFT_OUT = 0.01
"""Share of the log without a propensity (repaired slates among them). Ours."""
MAX_CLIPPED = 0.01
"""Share of weights that a clip may touch. Ours."""
_ROUNDING = 1e-5
"""What float32 propensities may move the mean weight of a policy judged by its own log."""


class Refused(Spec):
    """No figure: the log cannot answer, for these reasons."""

    why: tuple[str, ...]
    """Each reason: what was found, and what was wanted."""
    ess: float
    """Effective number of slates, the least over the prefixes used."""
    missing_support: float
    """Share of the target's slates that the log could never show: counted where the log has
    `unsupported`, else 1 - mean weight, which noise moves."""


@dataclass(frozen=True)
class Overlap:
    """How well n slates of a log cover a target policy, after each of N slots."""

    n: int
    ess: F64
    """Effective number of slates, (sum w)^2 / sum w^2, F64[N]."""
    mean: F64
    """Mean weight, F64[N]."""
    error: F64
    """Its standard error, whole members together, F64[N]."""
    largest: F64
    """F64[N]."""
    missing: F64
    """Share of the target's slates that the log could never show, F64[N]."""
    is_counted: bool
    """Whether `missing` was counted, or is 1 - mean weight."""

    @classmethod
    def of(
        cls, weight: F64, sums: sparse.csr_array, *, before: F64, unsupported: F64 | None
    ) -> Overlap:
        """Measure weights F64[n, N] of the slots up to each, `before` F64[n, N] those before it.

        `sums` [m, n] adds slates up by member. `unsupported` F64[n, N]: the target's chance, at
        each slot, of what the log could not show there.
        """
        n = len(weight)
        largest = weight.max(axis=0)
        # scaled, so that squares of large weights stay finite
        scaled = weight / np.where(largest > 0, largest, 1.0)
        squares = np.square(scaled).sum(axis=0)
        ess = np.square(scaled.sum(axis=0)) / np.where(squares > 0, squares, 1.0)
        mean = weight.mean(axis=0)
        apart = np.asarray(sums @ (weight - mean))
        counted = unsupported is not None
        lost = (before * unsupported).mean(axis=0).cumsum() if unsupported is not None else 1 - mean
        return cls(
            n=n,
            ess=ess,
            mean=mean,
            error=np.sqrt(np.square(apart).sum(axis=0)) / n,
            largest=largest,
            missing=np.clip(lost, 0.0, 1.0),
            is_counted=counted,
        )

    @property
    def errors_off(self) -> F64:
        """Standard errors that the mean weight lies off 1, F64[N]."""
        off = np.maximum(np.abs(self.mean - 1) - _ROUNDING, 0.0)
        far = np.where(off > 0, np.inf, 0.0)
        return np.divide(off, self.error, out=far, where=self.error > 0)

    @property
    def mean_farthest(self) -> float:
        """The mean weight that lies most standard errors off 1."""
        return float(self.mean[self.errors_off.argmax()])


def unsupported(logged: F32, target: F32) -> F64:
    """Add up the target's chances of what the log's policy never picks, F64[...].

    `logged` and `target`: log chances of each sale at a slot, F32[..., c]; -inf = never.
    """
    never: Bool = np.isneginf(logged)
    lost: F64 = np.where(never, np.exp(target.astype(np.float64)), 0.0).sum(axis=-1)
    return lost


def objections(overlap: Overlap, *, left_out: float, clipped: float) -> tuple[str, ...]:
    """Return each reason why the log cannot answer; none = it can.

    `left_out`: share of slates without a propensity; `clipped`: share of weights clipped.
    """
    found = [*_of_weights(overlap), *_of_means(overlap)]
    if left_out > MAX_LEFT_OUT:
        found.append(
            f"{left_out:.1%} of the log has no propensity, wanted at most {MAX_LEFT_OUT:.0%}"
        )
    if clipped > MAX_CLIPPED:
        found.append(f"{clipped:.1%} of the weights are clipped, wanted at most {MAX_CLIPPED:.0%}")
    return tuple(found)


def _of_weights(overlap: Overlap) -> Iterator[str]:
    slot = int(overlap.ess.argmin())
    ess, share = overlap.ess[slot], overlap.ess[slot] / overlap.n
    if ess < MIN_ESS:
        yield (
            f"effective sample size {ess:,.0f} of {overlap.n:,}{_up_to(slot, overlap)}, "
            f"wanted at least {MIN_ESS:,.0f}"
        )
    if share < MIN_ESS_SHARE:
        yield (
            f"the weights leave {share:.2%} of the log in use{_up_to(slot, overlap)}, "
            f"wanted at least {MIN_ESS_SHARE:.0%}"
        )


def _of_means(overlap: Overlap) -> Iterator[str]:
    slot, errors = int(overlap.errors_off.argmax()), overlap.errors_off.max()
    if errors > MAX_ERRORS:
        yield (
            f"mean weight {overlap.mean[slot]:.4f} is {errors:.1f} standard errors off 1"
            f"{_up_to(slot, overlap)}, wanted within {MAX_ERRORS:.0f}: the target shows what the "
            "log does not, or propensities are wrong"
        )
    missing = overlap.missing.max()
    if overlap.is_counted and missing > MAX_MISSING:
        yield (
            f"{missing:.1%} of the target's slates hold what the log could never show, "
            f"wanted at most {MAX_MISSING:.0%}"
        )


def _up_to(slot: int, overlap: Overlap) -> str:
    return f" up to slot {slot + 1}" if len(overlap.ess) > 1 else ""
