"""Promises to a whole audience: what prices reach, keep and cost, beside the exact optimum.

python -m benchmarks.allocate [--quick]. Values are drawn by chance: the shop of DECISION 7's table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar, get_args

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from benchmarks.turns import Clock, Row, Spread, line
from recsys.campaign.allocate import Act, solve
from recsys.campaign.bounds import Bound, Exposure, Promises
from recsys.campaign.certificate import Infeasible, Sample
from recsys.domain.arrays import F32, I16, I64, NONE, Bool
from recsys.domain.prices import Groups, Prices
from recsys.rerank.diversity import Reranker, ShelfView, TopK
from recsys.rerank.offer import Offer
from recsys.rerank.policy import SlatePolicy
from recsys.rerank.spec import Diversity
from recsys.rerank.utility import Parts, deviation, parts, sigma

T = TypeVar("T")
CHUNK, SLOTS, SALES, CURATED = 1_024, 6, 40, 4
EVEN = np.ones((1, 1), dtype=np.float32)


@dataclass(frozen=True)
class Crowd:
    """n members before a shelf of S sales, and what each sale is worth to each of them."""

    value: F32
    """F32[n, S]."""
    eligible: Bool
    """Bool[n, S]."""
    unit: F32
    """Vectors of the sales, of length 1, F32[S, U]."""
    segment: I16
    """Row of a segment, or NONE, I16[n]."""

    @property
    def sample(self) -> Sample:
        """What the allocator knows of them."""
        return Sample(segment=self.segment, eligible=self.eligible)

    @property
    def deviation(self) -> float:
        """Standard deviation of what is worth what to whom."""
        return float(self.value[self.eligible].std())

    @cached_property
    def offers(self) -> tuple[Offer, ...]:
        """What they may be shown, by chunk, at no prices."""
        median = float(np.median(deviation(self.value, self.eligible)))
        return tuple(self._offer(rows, median) for rows in _chunks(len(self.value)))

    def _offer(self, rows: slice, median: float) -> Offer:
        value, eligible = self.value[rows], self.eligible[rows]
        num, sales = value.shape
        brand = np.arange(sales)[None] // 4
        liked = value @ (brand[0][:, None] == np.arange(brand.max() + 2)).astype(np.float32)
        return Offer(
            parts=parts(value, np.zeros_like(value), fatigue=EVEN, boost=EVEN, novelty=0.0),
            eligible=eligible,
            sigma=sigma(value, eligible, median=median),
            view=ShelfView(
                unit=self.unit[None],
                num_members=num,
                category=brand,
                mix=liked / liked.sum(axis=1, keepdims=True),
            ),
            brand=brand,
            category=brand,
        )

    def priced(self, promises: Promises, prices: Prices) -> Iterator[Offer]:
        """Put prices into the offers, as floor and cap."""
        tariff = prices.tariff(promises.groups, promises.segments)
        columns = np.arange(self.value.shape[1])[None]
        for offer, rows in zip(self.offers, _chunks(len(self.value)), strict=True):
            amounts = offer.parts.amounts.copy()
            amounts[4], amounts[5] = tariff.of(self.segment[rows], columns)
            yield replace(offer, parts=Parts(amounts=amounts))

    def act(self, policy: SlatePolicy, promises: Promises) -> Act:
        """Return what makes everyone's slates at given prices, columns I64[n, N]."""
        draws = np.random.default_rng(0).random((CHUNK, policy.slots))

        def act(prices: Prices) -> I64:
            offers = self.priced(promises, prices)
            made = [policy.act(offer, draws[: len(offer.eligible)]).columns for offer in offers]
            return np.concatenate(made)

        return act

    def worth(self, columns: I64) -> float:
        """Return the mean value of slates, columns I64[n, N]."""
        each = np.take_along_axis(self.value, np.maximum(columns, 0), axis=1)
        return float(np.where(columns == NONE, 0, each).sum(axis=1, dtype=np.float64).mean())


def _chunks(num: int) -> list[slice]:
    return [slice(first, first + CHUNK) for first in range(0, num, CHUNK)]


def crowd(num: int, *, seed: int, sales: int = SALES, segments: int = 0) -> Crowd:
    """Draw members by `seed`; the sales are always the same.

    A sale is worth the more the better it is and the nearer to a member's taste; some members are
    worth far more than others, so a deviation of value differs from member to member.
    """
    shelf = np.random.default_rng(1)
    unit = shelf.normal(size=(sales, 16))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    quality = shelf.normal(0, 0.5, sales)
    rng = np.random.default_rng([2, seed])
    taste = rng.normal(size=(num, 16))
    liking = quality + 0.5 * (taste @ unit.T) + rng.normal(0, 0.2, (num, sales))
    means = rng.normal(0, 0.7, (num, 1))
    return Crowd(
        value=(0.01 * np.exp(liking + means)).astype(np.float32),
        eligible=rng.random((num, sales)) < 0.95,
        unit=unit.astype(np.float32),
        segment=(rng.integers(0, segments, num) if segments else np.full(num, NONE)).astype(
            np.int16
        ),
    )


def shelf_of(num: int = SALES, *, curated: int = CURATED) -> Groups:
    """Return the groups of a shelf: each sale, brands of four, and what editors picked."""
    brands = np.arange(num) // 4
    holds = [np.eye(num, dtype=np.bool_), brands == np.arange(brands[-1] + 1)[:, None]]
    holds.append((np.arange(num) < curated)[None])
    return Groups(
        sales=np.arange(num),
        names=(
            *(f"sale {sale}" for sale in range(num)),
            *(f"brand {brand}" for brand in range(int(brands[-1]) + 1)),
            "curated",
        ),
        holds=np.concatenate(holds),
    )


def promised(num: int = SALES, *, curated: int = CURATED) -> Promises:
    """Return DECISION 7's promises: each sale 5 to 35 %, four curated ones at least 20 %."""
    return Promises(
        bounds=tuple(
            Bound(group=f"sale {sale}", lower=0.2 if sale < curated else 0.05, upper=0.35)
            for sale in range(num)
        ),
        groups=shelf_of(num, curated=curated),
    )


def optimum(members: Crowd, promises: Promises, *, slots: int) -> float:
    """Return the most value a member under promises, slates filled in parts (HiGHS).

    Of all slates in whole sales none is worth more.
    """
    num, sales = members.value.shape
    cells = np.arange(num * sales)
    member, sale = np.divmod(cells, sales)
    counts = sparse.csr_matrix((np.ones(len(cells)), (member, cells)))
    within = promises.within.T[members.segment]
    weight = within / np.maximum(within.sum(axis=0), 1)
    rows = [
        sparse.csr_matrix(weight[member, bound] * promises.holds[bound, sale])
        for bound in range(len(promises.bounds))
    ]
    filled = np.minimum(slots, members.eligible.sum(axis=1))
    found = milp(
        -members.value.ravel().astype(np.float64) / num,
        constraints=[
            LinearConstraint(counts, filled, filled),
            LinearConstraint(sparse.vstack(rows), promises.lower, promises.upper),
        ],
        bounds=Bounds(0, members.eligible.ravel().astype(np.float64)),
    )
    if found.status != 0:
        raise ValueError(found.message)
    return -float(found.fun)


def shares_of(members: Crowd, promises: Promises, columns: I64) -> np.ndarray:
    """Return the shares that slates give to each bound, F64[B]."""
    return Exposure.none(promises).plus(columns, members.segment).shares(promises)


def taking(work: Callable[[], T]) -> tuple[T, float]:
    """Return what work gave, and the seconds of the processor it took."""
    clock = Clock()
    return work(), clock.took(1).processor


def main() -> None:
    """Print a table, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer members, and no verdicts")
    quick = parser.parse_args().quick
    print(f"  {'each of 40 sales 5 to 35 %, four at least 20 %':52}{'bar':>8}{'measured':>12}")
    rows = [*against_optimum(400 if quick else 5_000)]
    for reranker in (kind() for kind in get_args(get_args(Diversity)[0])):
        rows += carried_over(reranker, *((1_000, 4_000) if quick else (20_000, 100_000)))
    if quick:
        rows = [replace(row, bar=None, verdict=None) for row in rows]
    print(line("allocate", rows, quick=quick))


def against_optimum(num: int) -> Iterator[Row]:
    """Set prices for everyone there is, and compare with the linear programme."""
    members, promises = crowd(num, seed=1), promised()
    act = members.act(SlatePolicy(SLOTS, TopK()), promises)
    prices, took = taking(
        lambda: solve(act, promises, members.sample, sigma=members.deviation, tighten=0.0)
    )
    columns = act(_met(prices))
    best = optimum(members, promises, slots=SLOTS)
    gap = 1 - members.worth(columns) / best
    missed = float(promises.missed(shares_of(members, promises, columns)).max())
    yield _row(f"topk, {num:,} members: value short of the LP", gap, "share", bar=0.005)
    yield _row(f"topk, {num:,} members: worst violation", missed, "share", bar=0.005)
    yield _row(f"topk, {num:,} members: solve", took, "CPU s")


def carried_over(reranker: Reranker[Any], num: int, fresh: int) -> Iterator[Row]:
    """Set prices on a sample, and look at members who were not in it."""
    policy, promises = SlatePolicy(SLOTS, reranker), promised()
    name = f"{getattr(reranker, 'kind', 'own')}, {num:,} + {fresh:,} fresh"
    sample, others = crowd(num, seed=1), crowd(fresh, seed=2)
    act = sample.act(policy, promises)
    prices, took = taking(lambda: solve(act, promises, sample.sample, sigma=sample.deviation))
    there = others.act(policy, promises)
    free, kept = there(_free(promises)), there(_met(prices))
    before = float(promises.missed(shares_of(others, promises, free)).max())
    after = float(promises.missed(shares_of(others, promises, kept)).max())
    yield _row(f"{name}: violation without prices", before, "share")
    yield _row(f"{name}: with prices", after, "share", bar=0.002)
    yield _row(f"{name}: value kept", others.worth(kept) / others.worth(free), "share")
    yield _row(f"{name}: solve", took, "CPU s", bar=5.0)


def _met(prices: Prices | Infeasible) -> Prices:
    if isinstance(prices, Prices):
        return prices
    raise ValueError("; ".join(prices.told))


def _free(promises: Promises) -> Prices:
    nothing = np.zeros(len(promises.bounds), dtype=np.float32)
    return Prices(
        groups=tuple(bound.group for bound in promises.bounds),
        segments=tuple(bound.segment for bound in promises.bounds),
        floor=nothing,
        cap=nothing,
        missed=nothing,
    )


def _row(name: str, value: float, unit: str, *, bar: float | None = None) -> Row:
    told = None if bar is None else ("met" if value <= bar else "missed")
    print(f"  {name:52}{'' if bar is None else f'{bar:g}':>8}{value:>12.5f} {unit}")
    return Row.of(name, Spread(value, value, value, 1), unit, bar=bar, verdict=told)


if __name__ == "__main__":
    main()
