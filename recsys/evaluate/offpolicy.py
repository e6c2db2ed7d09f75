"""A log with propensities in, what another policy would have brought out, or a refusal.

How rows are weighed: `recsys.evaluate.estimators`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl

from recsys.domain.arrays import I32
from recsys.domain.errors import SettingError
from recsys.domain.report import Estimate
from recsys.domain.ties import keyed
from recsys.evaluate.estimators import Dr, DrOs, Estimator, Ips, Snips
from recsys.evaluate.intervals import Draws, Means
from recsys.evaluate.logged import LOG, Logged, read
from recsys.evaluate.support import Overlap, Refused, objections

__all__ = [
    "Dr",
    "DrOs",
    "Estimator",
    "Ips",
    "PolicyValue",
    "Snips",
    "difference",
    "estimate",
]

GROUPS = 20_000
"""More members than this are drawn in so many groups by hash: as wide, in bounded memory."""


class PolicyValue(Estimate):
    """What the target would have brought, with its 95 % bootstrap interval by member.

    n counts the rows, or with weights of prefixes the slates, that the log could use.
    """

    ess: float
    """Effective number of them, the least over the prefixes used."""
    weight_mean: float
    """Mean weight that lies most standard errors off 1."""
    weight_max: float
    missing_support: float
    """As in `Refused`."""
    left_out_share: float
    """Share without a propensity: left out of all else."""
    method: Estimator


def estimate(
    frame: pl.DataFrame, method: Estimator, *, num_draws: int = 1_000, seed: int = 0
) -> PolicyValue | Refused:
    """Estimate what the policy of `target_log_prob` would have brought; see `logged` for columns.

    Raises:
        DataRefusedError: a column is missing, or holds what no log can.
        SettingError: the method needs a model of rewards, which the frame does not hold.
    """
    log = read(frame, prefix=method.weights == "prefix")
    draws = _draws(log.members, num_draws, seed)
    overlap = _covered(log, method, draws)
    if isinstance(overlap, Refused):
        return overlap
    (found,) = _value(log, method, draws).estimates()
    return _told(found, method, log=log, overlap=overlap)


def difference(
    frame: pl.DataFrame,
    method: Estimator,
    *,
    than: str = LOG,
    num_draws: int = 1_000,
    seed: int = 0,
) -> PolicyValue | Refused:
    """Estimate how much more the target brings than another policy, the log's own by default.

    `than` names a column of that policy's log chances, read as `target_log_prob` is. Both share
    the draws, so the difference is paired. Refused where the log cannot answer for either; all
    but the difference itself is told of the target.

    Raises:
        DataRefusedError: a column is missing, or holds what no log can.
        SettingError: the method needs a model of rewards for policies that have none.
    """
    if than != LOG and isinstance(method, Dr | DrOs):
        raise SettingError(
            f"{method.kind} cannot compare with {than}: q_target is of the target alone",
            f"possible: ips, snips, or the log itself: than={LOG}",
        )
    prefix = method.weights == "prefix"
    log = read(frame, prefix=prefix)
    # what the log could not show is counted for the target alone
    other = replace(read(frame, target=than, prefix=prefix), unsupported=None)
    # the log against itself is its plain mean, whatever the method
    rival: Estimator = Ips(weights=method.weights) if than == LOG else method
    draws = _draws(log.members, num_draws, seed)
    overlap, against = _covered(log, method, draws), _covered(other, rival, draws)
    if isinstance(overlap, Refused):
        return overlap
    if isinstance(against, Refused):
        return against
    (found,) = _value(log, method, draws).minus(_value(other, rival, draws))
    return _told(found, method, log=log, overlap=overlap)


def _covered(log: Logged, method: Estimator, draws: Draws) -> Overlap | Refused:
    """Return how the log covers the target, or each reason why it does not."""
    if not len(log.ratio):
        return Refused(why=("the log holds no row with a propensity",), ess=0, missing_support=1)
    overlap = Overlap.of(log.weight, draws.sums, before=log.before, unsupported=log.unsupported)
    clip = method.clip if isinstance(method, Ips) else math.inf
    clipped = float((log.weight > clip).mean(axis=0).max())
    why = objections(overlap, left_out=log.left_out, clipped=clipped)
    if not why:
        return overlap
    return Refused(
        why=why, ess=float(overlap.ess.min()), missing_support=float(overlap.missing.max())
    )


def _value(log: Logged, method: Estimator, draws: Draws) -> Means:
    """Return one figure, and the same in each draw.

    What shrinking takes from the corrections is a bias. As much of its square as the draws do not
    explain, b^2 - var(b), widens the interval: a variance of v becomes v + b^2 - var(b).

    Raises:
        SettingError: the method needs a model of rewards, which the log does not hold.
    """
    means = _means(log, method, draws)
    if not isinstance(method, DrOs):
        return means
    whole = _means(log, Dr(weights=method.weights), draws)
    taken = whole.sample - means.sample
    beyond = np.maximum(np.square(whole.value - means.value) - taken.var(axis=0), 0)
    spread = means.sample.var(axis=0)
    wider = np.sqrt(1 + beyond / np.where(spread > 0, spread, np.inf))
    around = (means.sample - means.value) * wider
    return replace(means, sample=(means.value + around).astype(np.float32))


def _means(log: Logged, method: Estimator, draws: Draws) -> Means:
    """Add up the slots' means."""
    above, below = method(log)
    num_slots = above.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (above.sum(axis=0) / below.sum(axis=0)).sum(keepdims=True)
        by_member = np.asarray(draws.sums @ np.hstack([above, below])).astype(np.float32)
        drawn = draws.product(by_member)
        sample = (drawn[:, :num_slots] / drawn[:, num_slots:]).sum(axis=1, keepdims=True)
    # a draw of nobody says nothing: it stands at the value
    sample = np.where(np.isfinite(sample), sample, found.astype(np.float32))
    return Means(value=found, n=np.array([len(above)]), sample=sample)


def _draws(members: I32, num_draws: int, seed: int) -> Draws:
    if int(members.max(initial=0)) >= GROUPS:
        members = (keyed(seed, members) % np.uint64(GROUPS)).astype(np.int32)
    return Draws.of(members, num_draws, seed)


def _told(found: Estimate, method: Estimator, *, log: Logged, overlap: Overlap) -> PolicyValue:
    return PolicyValue(
        **found.model_dump(),
        ess=float(overlap.ess.min()),
        weight_mean=overlap.mean_farthest,
        weight_max=float(overlap.largest.max()),
        missing_support=float(overlap.missing.max()),
        left_out_share=log.left_out,
        method=method,
    )
