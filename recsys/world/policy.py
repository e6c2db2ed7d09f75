"""The logging policies: who filled the slates of the past, with the chance of every place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recsys.domain.arrays import F32, F64, I64, NONE
from recsys.world.draws import Luck, draw, normals, on_grid
from recsys.world.retailer import Offer, World
from recsys.world.state import SLOTS, State

CHANCE_SHARE = 0.2
"""Part of the places that is filled by chance."""


@dataclass(frozen=True)
class Noon:
    """What a policy may see when it fills slates: it answers for `rows` alone."""

    world: World
    state: State
    offer: Offer
    rows: I64
    """Rows of the members who need a slate, ascending, I64[m]."""

    @property
    def at(self) -> int:
        """The instant of the decision, UTC us."""
        return self.offer.at


@dataclass(frozen=True)
class Chosen:
    """Slates of m members as columns of the offer, and the chance of each place."""

    columns: I64
    """I64[m, SLOTS], padded with NONE."""
    propensity: F32
    """Chance of this sale here, given the places before, F32[m, SLOTS]; NaN where unknown."""


Policy = Callable[[Noon], Chosen]


Named = Literal["random", "editors", "popular", "taste"]


def logging_policy(noon: Noon) -> Chosen:
    """Fill slates as the settings of the world say."""
    return fill(noon, kind=noon.world.spec.logging_policy)


def fill(noon: Noon, *, kind: Named) -> Chosen:
    """Fill slates by a named policy; all but `random` leave `CHANCE_SHARE` to chance."""
    if kind == "random":
        return _mixed(np.arange(len(noon.offer)), noon, chance_share=1.0)
    if kind == "taste":
        return _mixed(np.argsort(-_old_model(noon), axis=1, kind="stable"), noon)
    score = _editors(noon) if kind == "editors" else _popular(noon)
    return _mixed(np.argsort(-score, kind="stable"), noon)


def _editors(noon: Noon) -> F32:
    """Order by what editors see, today's sales first."""
    sales = noon.world.sales
    rows = noon.offer.rows
    fresh: F32 = (sales.day[rows] == noon.offer.day).astype(np.float32)
    return sales.seen[rows] + fresh


def _popular(noon: Noon) -> F64:
    """Order by the lately counted views of the brand."""
    return noon.state.brand_views[noon.world.sales.brand[noon.offer.rows]]


def _old_model(noon: Noon) -> F32:
    """Score by one dot product of blurred styles: an old model of taste, F32[m, s]."""
    world, rows = noon.world, noon.rows
    members = world.members
    blur = 0.6 * normals(members.key[rows], 16, Luck.OLD_MODEL)
    taste = on_grid(world.brands.centres[members.cluster[rows, 0]] + blur)
    score: F32 = taste @ world.sales.style[noon.offer.rows].T
    return score


def _mixed(order: I64, noon: Noon, *, chance_share: float = CHANCE_SHARE) -> Chosen:
    """Fill each place by the best left in `order`, or with `chance_share` by any left.

    order: columns, best first, I64[s] for all or I64[m, s]. The propensity of a place is marginal
    over that choice, given the places before.
    """
    count, size = len(noon.rows), len(noon.offer)
    slots = min(SLOTS, size)
    key = noon.world.members.key[noon.rows]
    day = noon.offer.day
    ranks = np.full((count, slots), size, dtype=np.int64)
    propensity = np.zeros((count, SLOTS), dtype=np.float32)
    taken = np.zeros(count, dtype=np.uint8)
    for slot in range(slots):
        rank = _LOWEST_FREE.take(taken)
        lucky = np.flatnonzero(draw(key, Luck.SLATE, 0, day, slot) < chance_share)
        numbers = draw(key[lucky], Luck.SLATE, 1, day, slot)
        drawn = _any_left(ranks[lucky, :slot], numbers, size=size)
        other = drawn != rank[lucky]
        rank[lucky] = drawn
        ranks[:, slot] = rank
        taken |= _BIT.take(np.minimum(rank, 8))
        propensity[:, slot] = 1 - chance_share + chance_share / (size - slot)
        propensity[lucky[other], slot] = chance_share / (size - slot)
    columns = np.full((count, SLOTS), NONE, dtype=np.int64)
    if order.ndim == 1:
        columns[:, :slots] = order.take(ranks)
    else:
        columns[:, :slots] = np.take_along_axis(order, ranks, 1)
    return Chosen(columns=columns, propensity=propensity)


_LOWEST_FREE: I64 = np.array([(~bits & (bits + 1)).bit_length() - 1 for bits in range(256)])
"""Lowest bit that is not set; slates are shorter than eight places."""
_BIT = np.array([1 << rank for rank in range(8)] + [0], dtype=np.uint8)
"""The bit of each rank below eight, none for all others."""


def _any_left(taken: I64, numbers: F32, *, size: int) -> I64:
    """Draw uniformly one of the ranks in [0, size) that are not taken, I64[m]."""
    left = size - taken.shape[1]
    rank: I64 = np.minimum(np.floor(numbers * np.float32(left)), left - 1).astype(np.int64)
    for lower in np.sort(taken, axis=1).T:
        rank += rank >= lower
    return rank
