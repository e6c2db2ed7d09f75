"""How gladly a member meets new brands: what was new of what they touched, shrunken (DECISION 3).

A touch is the first engagement of a day with a brand; it is a first touch if the member never
engaged with the brand before. The share of first touches falls as a past grows, so a member is
measured against what is usual for a past of that length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recsys.domain.arrays import F32, F64, I64
from recsys.rerank.trail import Trail

WINDOW_DAYS = 91.0
"""Thirteen weeks: how far back touches are counted, or half of a shop's past if that is shorter;
earlier ones make the length of a past."""
LEAST_MEMBERS = 50
"""Members with touches below which nothing is fitted."""
_SHARE = (0.005, 0.995)
"""Usual shares are kept inside, so that indices stay finite."""


@dataclass(frozen=True)
class Counts:
    """What n members touched before an instant each."""

    new: F64
    """First touches in the window, F64[n]."""
    all: F64
    """Touches in the window, F64[n]."""
    before: F64
    """Touches before the window, F64[n]."""

    @classmethod
    def of(cls, trail: Trail, maker: I64, *, window_days: float) -> Counts:
        """Count the touches of a trail; `maker` I64[s] is the key of each sale's brand."""
        what = maker[trail.sale]
        order = np.argsort(trail.row * (int(maker.max(initial=0)) + 1) + what, kind="stable")
        row, what, day = trail.row[order], what[order], trail.day[order]
        first = np.ones(len(order), dtype=np.bool_)
        first[1:] = (row[1:] != row[:-1]) | (what[1:] != what[:-1])
        touch = first.copy()
        touch[1:] |= day[1:] != day[:-1]
        late = trail.days[order] < window_days
        new, touched, before = (
            np.bincount(row[chosen], minlength=trail.num).astype(np.float64)
            for chosen in (first & late, touch & late, touch & ~late)
        )
        return cls(new=new, all=touched, before=before)


Cuts = tuple[float, float, float, float]


@dataclass(frozen=True)
class Appetite:
    """What is usual at each length of a past, and how far a member's own share is believed."""

    curve: tuple[float, float, float] = (0.3, 0.0, 0.0)
    """The usual share is c0 + c1 l + c2 l^2 at l = log(1 + touches before the window)."""
    kappa: float = 13.0
    """Touches' worth of belief in what is usual."""
    low: float = 0.0
    """A fifth of the members it was fitted on had a share below this."""
    length: float = 0.0
    """About half of the members with a past had fewer touches."""
    fifths: tuple[Cuts, Cuts] | None = None
    """Shares that part into fifths those with fewer touches, and the others; None = unknown."""
    window_days: float = WINDOW_DAYS
    """How far back touches are counted."""

    def usual(self, before: F64) -> F64:
        """Return the usual share of first touches after so many touches, F64[n]."""
        usual: F64 = np.clip(_powers(before) @ np.array(self.curve), *_SHARE)
        return usual

    def index(self, counts: Counts) -> F32:
        """Return (k + kappa usual) / (n + kappa) over what is usual, F32[n]; 1 = usual."""
        usual = self.usual(counts.before)
        shrunken = (counts.new + self.kappa * usual) / (counts.all + self.kappa)
        return (shrunken / usual).astype(np.float32)

    def share(self, counts: Counts) -> F32:
        """Foretell the share of first touches in what comes next, in [0, 1], F32[n].

        The member's index times what is usual for all of the past, the window included.
        """
        longer = self.usual(counts.before + counts.all).astype(np.float32)
        share: F32 = np.minimum(self.index(counts) * longer, np.float32(1))
        return share

    def parting(self, counts: Counts) -> Appetite:
        """Return the same with cuts that part the members who have a past, by how long it is.

        Too few members: they are not parted.
        """
        touched = counts.before + counts.all
        known = touched > 0
        if int(known.sum()) < LEAST_MEMBERS:
            return self
        share, middle = self.share(counts), float(np.floor(np.median(touched[known])))
        # many pasts are as long as the middle one: of both cuts beside it, the more even
        length = min(
            (middle, middle + 1), key=lambda cut: abs(float((touched[known] < cut).mean()) - 0.5)
        )
        sides = (known & (touched < length), known & (touched >= length))
        return replace(self, length=length, fifths=(_cuts(share[sides[0]]), _cuts(share[sides[1]])))


USUAL = Appetite()
"""What is taken for usual where nothing was fitted."""


def fit(counts: Counts, *, window_days: float = WINDOW_DAYS) -> Appetite:
    """Fit the curve by least squares weighted by touches, kappa by moments of the beta-binomial.

    The variance of a share k/n around its usual a is a(1 - a)/n (1 + (n - 1) rho), and
    kappa = 1/rho - 1 (Griffiths 1973). Too few members: the defaults.
    """
    asked = counts.all > 0
    if int(asked.sum()) < LEAST_MEMBERS:
        return replace(USUAL, window_days=window_days)
    n, share = counts.all[asked], counts.new[asked] / counts.all[asked]
    weight, powers = np.sqrt(n), _powers(counts.before[asked])
    curve = np.linalg.lstsq(powers * weight[:, None], share * weight, rcond=None)[0]
    usual = np.clip(powers @ curve, *_SHARE)
    excess = n * (share - usual) ** 2 / (usual * (1 - usual)) - 1
    rho = float(excess.sum() / max((n - 1).sum(), 1.0))
    found = Appetite(
        curve=(float(curve[0]), float(curve[1]), float(curve[2])),
        kappa=1 / float(np.clip(rho, 1e-3, 0.5)) - 1,
        window_days=window_days,
    )
    few = Counts(counts.new[asked], n, counts.before[asked])
    return replace(found, low=float(np.quantile(found.share(few), 0.2)))


def read(plain: Mapping[str, Any]) -> Appetite:
    """Return what `asdict` wrote, this version's or an earlier one's, which had no fifths."""
    known: dict[str, Any] = {**plain, "curve": tuple(plain["curve"])}
    if known.get("fifths") is not None:
        known["fifths"] = tuple(map(tuple, known["fifths"]))
    return Appetite(**known)


def _cuts(share: F32) -> Cuts:
    if not len(share):
        return (0.0, 0.0, 0.0, 0.0)
    one, two, three, four = np.quantile(share, (0.2, 0.4, 0.6, 0.8)).tolist()
    return one, two, three, four


def _powers(before: F64) -> F64:
    length = np.log1p(before)
    return np.stack([np.ones_like(length), length, length**2], axis=1)
