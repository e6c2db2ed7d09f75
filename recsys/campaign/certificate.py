"""Proof that promises cannot be kept, whoever ranks: which of them, and by how much (DECISION 7).

Give each bound a weight: > 0 counts its minimum, < 0 takes off its maximum. What the promises ask
for is then one number, and the most that slates can give of it is another: each member's slots
filled with the eligible sales of the highest weights. Where even that is less, no slates keep all
the promises, and the weights are the proof (Farkas 1902). Whether they do not is what this asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from recsys.campaign.bounds import Exposure, Promises
from recsys.domain.arrays import F64, I16, I64, NONE, Bool
from recsys.domain.ties import uniform

SEARCH_MEMBERS = 2_000
"""Members among whom weights are looked for; a proof is made on all of the sample."""
SEARCH_STEPS = 200
TOLD = 6
"""Bounds that are named before the rest is only counted."""
LEAST = 1e-7
"""Amounts that differ by less, as a share of the larger, differ by rounding."""


@dataclass(frozen=True)
class Infeasible:
    """Promises that no slates keep together."""

    bounds: tuple[str, ...]
    """What is asked for, one bound an entry: `curated: at least 0.3`, `acme: at most 0.1`."""
    weights: F64
    """How much each counts, F64[len(bounds)], the largest 1; < 0 for a maximum."""
    promised: float
    """Weighted minimums less weighted maximums, in sales a member."""
    attainable: float
    """The most that any slates could give of it."""

    @property
    def short(self) -> float:
        """By how much it is too little."""
        return self.promised - self.attainable

    @property
    def told(self) -> tuple[str, str, str]:
        """What cannot be kept, and by how much, in three lines for who made the promises."""
        order = np.lexsort((self.weights > 0, -np.abs(self.weights))).tolist()
        some = [
            bound if weight > 0.995 else f"{weight:.2f} x ({bound})"
            for bound, weight in ((self.bounds[b], abs(self.weights[b])) for b in order[:TOLD])
        ]
        if len(order) > TOLD:
            some.append(f"and {len(order) - TOLD} more")
        if (self.weights > 0).all():
            asked = "they ask for {:.4f} sales a member, the most there can be are {:.4f}"
        elif (self.weights < 0).all():
            asked = "they allow {:.4f} sales a member, the least there can be are {:.4f}"
        else:
            asked = "minimums less maximums are {:.4f} sales a member, the most there can be {:.4f}"
        sign = -1 if (self.weights < 0).all() else 1
        amounts = asked.format(sign * self.promised, sign * self.attainable)
        together = " together" if len(order) > 1 else ""
        return f"no slates can keep these promises{together}", "; ".join(some), amounts


@dataclass(frozen=True)
class Sample:
    """n members that stand for the audience; S sales of the promises' shelf."""

    segment: I16
    """Row of the promises' segments, or NONE, I16[n]."""
    eligible: Bool
    """May be shown, Bool[n, S]."""

    def of(self, rows: I64) -> Sample:
        """Return some of the members."""
        return Sample(segment=self.segment[rows], eligible=self.eligible[rows])


@dataclass(frozen=True)
class Limits:
    """What slates of given lengths could give to a sample at most, whatever anybody prefers."""

    promises: Promises
    sample: Sample
    slots: I64
    """Sales on each member's slate, I64[n], never more than are eligible; 0 = nothing is sent."""
    doubt: float = 0.0
    """Standard errors by which a proof must hold, for members who are not in the sample."""

    @cached_property
    def within(self) -> Bool:
        """Which bounds each member falls under, Bool[n, B]."""
        return self.promises.within.T[self.sample.segment]

    @cached_property
    def members(self) -> I64:
        """Members of each bound, I64[B]."""
        members: I64 = self.within.sum(axis=0)
        return members

    @cached_property
    def reach(self) -> F64:
        """How many of its sales one slate can show, F64[B], at least 1."""
        sales = self.promises.holds.sum(axis=1)
        reach: F64 = np.clip(sales, 1, max(1, int(self.slots.max(initial=0)))).astype(np.float64)
        return reach

    @cached_property
    def alone(self) -> tuple[F64, F64]:
        """Least and most share that any slates could give to each bound by itself, both F64[B]."""
        eligible = self.sample.eligible.astype(np.float32)
        theirs = eligible @ self.promises.holds.T.astype(np.float32)
        others = eligible.sum(axis=1)[:, None] - theirs
        least = np.maximum(self.slots[:, None] - others, 0)
        most = np.minimum(self.slots[:, None], theirs)
        num = np.maximum(self.members, 1)
        return (
            np.where(self.within, least, 0).sum(axis=0, dtype=np.float64) / num,
            np.where(self.within, most, 0).sum(axis=0, dtype=np.float64) / num,
        )

    def worth(self, weights: F64) -> F64:
        """Spread weights F64[B] over sales, by segment, F64[C + 1, S]: means become one sum."""
        scale = len(self.slots) / np.maximum(self.members, 1)
        spread = self.promises.within * (weights * scale)[:, None]
        worth: F64 = spread.T @ self.promises.holds.astype(np.float64)
        return worth

    def best(self, worth: F64) -> F64:
        """Return the most worth that each member's slots could hold, F64[n]."""
        here = np.where(self.sample.eligible, worth[self.sample.segment], -np.inf)
        most = min(int(self.slots.max(initial=0)), here.shape[1])
        if not most:
            return np.zeros(len(here))
        top = -np.sort(np.partition(-here, most - 1, axis=1)[:, :most], axis=1)
        best: F64 = np.where(np.arange(most) < self.slots[:, None], top, 0.0).sum(axis=1)
        return best

    def proof(self, weights: F64) -> Infeasible | None:
        """Return the proof that weights F64[B] are, or None where they are none."""
        # what is not bounded asks for nothing
        bounded = np.where(weights > 0, self.promises.lower > 0, np.isfinite(self.promises.upper))
        weights = np.where(bounded, weights, 0.0)
        largest = float(np.abs(weights).max(initial=0))
        if not largest:
            return None
        weights = weights / largest
        best = self.best(self.worth(weights))
        asked = np.where(weights > 0, self.promises.lower, self.promises.upper)
        used = np.flatnonzero(weights)
        promised = float(weights[used] @ asked[used])
        attainable = float(best.mean())
        doubt = self.doubt * float(best.std()) / np.sqrt(len(best))
        rounding = LEAST * max(1.0, abs(promised))
        if promised - attainable <= doubt + rounding:
            return None
        return Infeasible(
            bounds=tuple(
                _asked(self.promises, row, lower=weights[row] > 0) for row in used.tolist()
            ),
            weights=weights[used],
            promised=promised,
            attainable=attainable,
        )

    def simple(self) -> Infeasible | None:
        """Look at each bound by itself, then at all minimums and all maximums together."""
        least, most = self.alone
        promises = self.promises
        short = np.maximum(promises.lower - most, 0)
        over = np.maximum(least - promises.upper, 0)
        singles = np.diag(np.where(short >= over, 1.0, -1.0))[np.argsort(-np.maximum(short, over))]
        wrong = int(((short > 0) | (over > 0)).sum())
        # a bound on few members counts as much as they do
        some = [*singles[:wrong], self.members, -self.members]
        proofs = (self.proof(weights) for weights in some)
        return next((proof for proof in proofs if proof is not None), None)

    def search(self, hints: Iterable[F64]) -> Infeasible | None:
        """Look for weights that are a proof: among hints, then by asking members who want nothing.

        Returns the proof with as few bounds as will do, or None where none was found.
        """
        for weights in chain(hints, self._some().rays()):
            found = self.proof(weights)
            if found is not None:
                return self._plain(weights, found)
        return None

    def rays(self) -> Iterator[F64]:
        """Yield weights that are a proof here, for members who prefer sales by chance alone.

        Prices rise without end on promises that cannot be kept, whatever the members prefer; where
        they prefer nothing much, what the prices ask for is soon all that is left.
        """
        num, sales = self.sample.eligible.shape
        chance = uniform(np.arange(num)[:, None], np.arange(sales)).astype(np.float32)
        weights = np.zeros(len(self.promises.bounds))
        step = 3.0 * self.members / num / self.reach
        for turn in range(SEARCH_STEPS):
            shares = self._chosen(chance + self.worth(weights)[self.sample.segment])
            missed = np.maximum(self.promises.lower - shares, 0)
            missed -= np.maximum(shares - self.promises.upper, 0)
            inside = np.where(
                weights > 0, shares - self.promises.lower, self.promises.upper - shares
            )
            kept = np.where(weights == 0, 0, np.abs(weights) - step * inside)
            kept = np.sign(weights) * np.maximum(kept, 0)
            weights = np.where(missed == 0, kept, weights + step * missed)
            if turn % 10 == 9 and self.proof(weights) is not None:
                yield weights

    def _chosen(self, gain: F64) -> F64:
        """Return the share of each bound where every member gets the largest gains, F64[B]."""
        here = np.where(self.sample.eligible, gain, -np.inf)
        most = max(1, min(int(self.slots.max(initial=0)), here.shape[1]))
        top = np.argpartition(-here, most - 1, axis=1)[:, :most]
        order = np.argsort(-np.take_along_axis(here, top, axis=1), axis=1)
        columns = np.take_along_axis(top, order, axis=1)
        shown = np.where(np.arange(most) < self.slots[:, None], columns, NONE)
        counted = Exposure.none(self.promises).plus(shown, self.sample.segment)
        return counted.shares(self.promises)

    def _some(self) -> Limits:
        """Return the limits of a part of the sample, each segment in its proportion."""
        every = max(1, len(self.slots) // SEARCH_MEMBERS)
        order = np.argsort(self.sample.segment, kind="stable")
        first = np.r_[True, np.diff(self.sample.segment[order]) != 0]
        rows = order[first | (np.arange(len(order)) % every == 0)]
        return Limits(self.promises, self.sample.of(rows), self.slots[rows])

    def _plain(self, weights: F64, found: Infeasible) -> Infeasible:
        """Take bounds out of a proof as long as it stays one, then count all members alike."""
        weights = weights / np.abs(weights).max()
        for row in np.argsort(np.abs(weights)):
            less = weights.copy()
            less[row] = 0.0
            shorter = self.proof(less)
            if shorter is not None and shorter.short >= 0.9 * found.short:
                weights, found = less, shorter
        simple = self.proof(np.sign(weights) * self.members)
        return simple if simple is not None and simple.short >= 0.5 * found.short else found


def _asked(promises: Promises, row: int, *, lower: bool) -> str:
    bound = promises.bounds[row]
    return f"{bound.name}: " + (
        f"at least {bound.lower:g}" if lower else f"at most {bound.upper:g}"
    )
