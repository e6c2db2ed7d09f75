"""A compact judge for the laws of the world: day-0 shelves, engagement within 48 hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, F64, I64, NONE, Bool
from recsys.domain.events import HOUR, Kind
from recsys.domain.ties import keyed
from recsys.world import Played
from recsys.world.retailer import open_sales


@dataclass(frozen=True)
class Case:
    """Members who engaged, the sales of one noon, what they engaged with, and the past."""

    at: int
    members: I64
    sales: I64
    relevant: Bool
    by_brand: F32
    """Engagements of every member with every brand before the noon, F32[n, b]."""
    by_sale: I64
    """Engagements with every sale before the noon."""


def engagements(played: Played) -> Bool:
    kind = played.log.kind
    return np.isin(kind, [Kind.MAIL_CLICK, Kind.VIEW, Kind.WAIT_LIST, Kind.CART, Kind.PURCHASE])


def case(played: Played, day: int) -> Case:
    world, log = played.world, played.log
    at = world.noon(day)
    shelf = open_sales(world, played.states[day], at=at)
    shelf = shelf[world.sales.day[shelf] == day]
    engaged = engagements(played)
    after = engaged & (log.at >= at) & (log.at < at + 48 * HOUR) & np.isin(log.sale, shelf)
    relevant = np.zeros((len(world.members), len(shelf)), dtype=np.bool_)
    relevant[log.member[after], np.searchsorted(shelf, log.sale[after])] = True
    members = np.flatnonzero(relevant.any(axis=1))
    past = engaged & (log.at < at)
    by_brand = np.zeros((len(world.members), len(world.brands)), dtype=np.float32)
    np.add.at(by_brand, (log.member[past], world.sales.brand[log.sale[past]]), 1)
    return Case(
        at=at,
        members=members,
        sales=shelf,
        relevant=relevant[members],
        by_brand=by_brand,
        by_sale=np.bincount(log.sale[past & (log.sale != NONE)], minlength=len(world.sales)),
    )


def ndcg(scores: np.ndarray, judged: Case, *, depth: int = 10) -> F64:
    """Return nDCG of each member of a case, ties by a hash of the sale, F64[m]."""
    ties = np.argsort(keyed(judged.at, judged.sales))
    order = ties[np.argsort(-np.asarray(scores)[:, ties], axis=1, kind="stable")][:, :depth]
    gains = np.take_along_axis(judged.relevant, order, axis=1)
    discount = 1 / np.log2(np.arange(depth) + 2)
    best = np.minimum(judged.relevant.sum(axis=1), depth)
    found: F64 = (gains * discount).sum(axis=1) / np.cumsum(discount)[best - 1]
    return found


def lowest_and_highest(gaps: Sequence[F64]) -> tuple[float, float]:
    """Return mean gap of members minus and plus 3.3 standard errors: one in 1,000 lies outside."""
    joined = np.concatenate(gaps)
    half = 3.3 * joined.std() / np.sqrt(len(joined))
    return float(joined.mean() - half), float(joined.mean() + half)


def ids(judged: Case) -> tuple[list[str], list[str]]:
    return (
        [f"m{row:06d}" for row in judged.members.tolist()],
        [f"s{row:05d}" for row in judged.sales.tolist()],
    )
