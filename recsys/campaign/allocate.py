"""Prices that make everyone's slates keep what is promised about the audience (DECISION 7).

The most value under bounds on means over members has one price a bound: the ordinary slates, made
with the prices in the utility, are then the best ones (Lagrange). There are few prices, so they are
found on a sample of members, around the policy that will make the slates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recsys.campaign.bounds import Exposure, Promises, said
from recsys.campaign.certificate import Infeasible, Limits, Sample
from recsys.domain.arrays import F64, I64, NONE
from recsys.domain.errors import SettingError
from recsys.domain.prices import Prices

Act = Callable[[Prices], I64]
"""Prices -> the slates of the sample's n members, columns of the shelf I64[n, N] or NONE. The
policy with its re-ranker and its rules, drawing the same numbers every time; the length of a slate
does not depend on prices (whom to send to is decided before)."""

NEAR = 0.0005
"""A bound that is missed by less than this share of members is not yet missed."""
SETTLED = 0.002
"""Prices are good enough where they cost less than this many deviations of value a member."""
FASTER, SLOWER, PACES = 1.2, 0.5, (1e-3, 1e3)
"""A price that keeps going one way goes on faster, one that turns back slower (Rprop, Riedmiller
and Braun 1993): no one step fits members whose values differ a hundredfold."""


@dataclass(frozen=True)
class _Tried:
    """Prices, and what they gave."""

    price: F64
    """In units of value, F64[B]: > 0 is a minimum's, < 0 a maximum's."""
    shares: F64
    """F64[B]."""
    missed: F64
    """By how much the tightened bounds are missed, F64[B]: < 0 too high, > 0 too low."""
    way: F64
    """Where each price should go next, F64[B]: -1, 0 or 1."""
    loss: float
    """Value a member that these slates lack to the best ones, at most: what is priced times how
    far it lies within its bound (weak duality; exact where the policy takes the largest gains)."""


@dataclass(frozen=True)
class _Dual:
    """The prices' side of the problem: shares in, better prices out."""

    limits: Limits
    lower: F64
    """Tightened, F64[B]."""
    upper: F64
    sigma: float

    def tried(self, price: F64, shares: F64) -> _Tried:
        """Look at what prices gave."""
        limits = self.limits
        missed = np.maximum(self.lower - shares, 0) - np.maximum(shares - self.upper, 0)
        slack = self._slack(price, shares)
        return _Tried(
            price=price,
            shares=shares,
            missed=missed,
            way=np.sign(np.where(missed == 0, -price * slack, missed)),
            loss=float((np.abs(price) * slack * limits.members).sum()) / len(limits.slots),
        )

    def stepped(self, tried: _Tried, pace: F64, turn: int) -> F64:
        """Move the price of what is missed; let the price of what is kept shrink by its slack."""
        # a group of many sales answers to its price with all of them
        eta = pace * 3 * self.sigma / np.sqrt(1 + turn / 4) / self.limits.reach
        shrunk = np.abs(tried.price) - 0.5 * eta * self._slack(tried.price, tried.shares)
        kept = np.sign(tried.price) * np.maximum(shrunk, 0)
        price = np.where(tried.missed == 0, kept, tried.price + eta * tried.missed)
        # float32 is what is asked and what is kept
        asked: F64 = price.astype(np.float32).astype(np.float64)
        return asked

    def merit(self, tried: _Tried) -> tuple[float, float]:
        """Order what was tried: first what is missed beyond `near`, then what it costs."""
        beyond = np.maximum(np.abs(tried.missed) - near(self.limits), 0)
        return float(beyond.max(initial=0)), tried.loss

    def _slack(self, price: F64, shares: F64) -> F64:
        inside = np.where(price > 0, shares - self.lower, self.upper - shares)
        return np.where(price == 0, 0, np.maximum(inside, 0))


def solve(
    act: Act,
    promises: Promises,
    sample: Sample,
    *,
    sigma: float,
    steps: int = 80,
    tighten: float = 2.0,
) -> Prices | Infeasible:
    """Return the prices under which the sample's slates keep the promises, or why none can.

    `sigma` is the standard deviation of value, which sets the length of a step; at most `steps`
    are made. Bounds are tightened by `tighten` standard errors, for members who are not in the
    sample; 0 where the sample is everyone. Where that misses the bounds as they were promised and
    nothing proves that it must, as many steps follow without tightening; what is missed even then
    stands in `Prices.missed`.

    Raises:
        SettingError: the sample is empty, a bound is about nobody in it, or asks for more than
            the slots of a slate.
    """
    _check(promises, sample, sigma)
    num = len(promises.bounds)
    free = act(_prices(promises, np.zeros(num), np.zeros(num)))
    _check_slates(promises, sample, free)
    slots = (free != NONE).sum(axis=1)
    limits = Limits(promises, sample, slots, tighten)
    wrong = limits.simple() if num else None
    if wrong is not None:
        return wrong
    firm = _Dual(limits, *tightened(limits), sigma)
    best = _descend(act, firm.tried(np.zeros(num), _shares(limits, free)), firm, steps=steps)
    missed = promises.missed(best.shares)
    if (missed > near(limits)).any():
        signed = np.where(best.shares < promises.lower, missed, -missed)
        found = limits.search([np.sign(signed) * limits.members, signed, best.price])
        if found is not None:
            return found
        # there may be room for the promises, but none for the noise
        bare = _Dual(limits, promises.lower, promises.upper, sigma)
        best = _descend(act, bare.tried(best.price, best.shares), bare, steps=steps)
    return _prices(promises, best.price, promises.missed(best.shares))


def tightened(limits: Limits) -> tuple[F64, F64]:
    """Return lower and upper F64[B], moved inwards by the noise of a sample, never past another.

    A mean m over n members of counts in [0, k] has a standard error of at most
    sqrt(m (k - m) / n) (Bhatia and Davis 2000); for one sale, k = 1, that is what it is. No bound
    becomes tighter than what slates could give.
    """
    lower, upper, reach = limits.promises.lower, limits.promises.upper, limits.reach
    least, most = limits.alone
    middle = np.where(np.isfinite(upper), (lower + upper) / 2, np.inf)

    def noise(share: F64) -> F64:
        spread = np.clip(share * (reach - share), 0, None)
        return limits.doubt * np.sqrt(spread / np.maximum(limits.members, 1))

    low = np.minimum(np.minimum(lower + noise(lower), middle), np.maximum(lower, most))
    finite = np.where(np.isfinite(upper), upper, 0.0)
    high = np.maximum(np.maximum(finite - noise(finite), middle), np.minimum(finite, least))
    return np.where(lower > 0, low, 0.0), np.where(np.isfinite(upper), high, np.inf)


def _descend(act: Act, start: _Tried, dual: _Dual, *, steps: int) -> _Tried:
    """Step down the sampled dual; return the best prices that were tried."""
    best = tried = start
    pace, way = np.ones(len(start.way)), np.zeros(len(start.way))
    for turn in range(steps):
        if dual.merit(tried) <= (0.0, SETTLED * dual.sigma):
            break
        turned = tried.way * way
        pace = np.clip(pace * np.where(turned > 0, FASTER, np.where(turned < 0, SLOWER, 1)), *PACES)
        way = tried.way
        price = dual.stepped(tried, pace, turn)
        columns = act(_prices(dual.limits.promises, price, np.zeros(len(price))))
        tried = dual.tried(price, _shares(dual.limits, columns))
        best = min(best, tried, key=dual.merit)
    return best


def _shares(limits: Limits, columns: I64) -> F64:
    if ((columns != NONE).sum(axis=1) != limits.slots).any():
        raise ValueError("slates change their length with prices: decide before whom to send")
    counted = Exposure.none(limits.promises).plus(columns, limits.sample.segment)
    return counted.shares(limits.promises)


def near(limits: Limits) -> F64:
    """Return how much may be missed and counts as kept, F64[B]: few members move in large steps."""
    return np.maximum(NEAR, 1 / np.maximum(limits.members, 1))


def _prices(promises: Promises, price: F64, missed: F64) -> Prices:
    return Prices(
        groups=tuple(bound.group for bound in promises.bounds),
        segments=tuple(bound.segment for bound in promises.bounds),
        floor=np.maximum(price, 0).astype(np.float32),
        cap=np.maximum(-price, 0).astype(np.float32),
        missed=missed.astype(np.float32),
    )


def _check(promises: Promises, sample: Sample, sigma: float) -> None:
    num, sales = len(sample.segment), len(promises.groups.sales)
    if not num:
        raise SettingError("the sample has no member: there is no slate to set prices by")
    if sample.eligible.shape != (num, sales):
        raise ValueError(f"eligible is {(num, sales)}, found {sample.eligible.shape}")
    if not 0 < sigma < np.inf:
        raise ValueError(f"sigma is a finite number above 0, found {sigma}")
    # raises where a bound is about nobody
    Exposure.of_members(promises, sample.segment).shares(promises)


def _check_slates(promises: Promises, sample: Sample, columns: I64) -> None:
    num, most = columns.shape
    if num != len(sample.segment):
        raise ValueError(f"{len(sample.segment)} slates are wanted, found {num}")
    shown = np.take_along_axis(sample.eligible, np.maximum(columns, 0), axis=1)
    if not shown[columns != NONE].all():
        raise ValueError("slates show what is not eligible")
    for bound in promises.bounds:
        highest = bound.lower if bound.upper is None else bound.upper
        if highest > most:
            raise SettingError(
                f"{bound.name}: {said(bound)} is promised, but a slate has {most} slots",
                "bounds are shares of members: 0.2 is a fifth of them",
            )
