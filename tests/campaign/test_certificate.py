from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.allocate import Crowd, optimum
from recsys.campaign.bounds import Bound, Promises
from recsys.campaign.certificate import Infeasible, Limits, Sample
from recsys.domain.arrays import F64, NONE, Bool
from recsys.domain.prices import Groups

SALES, SLOTS = 6, 2
SEGMENTS = ("north", "south")


@dataclass(frozen=True)
class Case:
    """A few members and promises drawn by chance."""

    limits: Limits

    @property
    def kept(self) -> bool:
        """Slates that keep the promises are there, if sales could be shown in parts (HiGHS)."""
        sample = self.limits.sample
        crowd = Crowd(
            value=np.zeros(sample.eligible.shape, dtype=np.float32),
            eligible=sample.eligible,
            unit=np.eye(SALES, dtype=np.float32),
            segment=sample.segment,
        )
        try:
            optimum(crowd, self.limits.promises, slots=SLOTS)
        except ValueError:
            return False
        return True


def groups() -> Groups:
    holds = np.concatenate([
        np.eye(SALES, dtype=np.bool_),
        np.array([[1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 0]], dtype=np.bool_),
    ])
    names = (*(f"sale {sale}" for sale in range(SALES)), "acme", "curated")
    return Groups(sales=np.arange(SALES), names=names, holds=holds)


def limits_of(bounds: list[Bound], eligible: Bool, *, doubt: float = 0.0) -> Limits:
    num = len(eligible)
    segment = (np.arange(num) % 3 - 1).astype(np.int16)
    promises = Promises(bounds=tuple(bounds), groups=groups(), segments=SEGMENTS)
    slots = np.minimum(SLOTS, eligible.sum(axis=1))
    return Limits(promises, Sample(segment, eligible), slots, doubt)


def drawn(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    bounds = []
    for name in groups().names:
        most = 1.0 if name.startswith("sale") else 1.6
        for segment in (None, *SEGMENTS):
            lower, upper = np.sort(rng.uniform(0, most, 2))
            lower = lower if rng.random() < 0.6 else 0.0
            if rng.random() < 0.4:
                bounds.append(
                    Bound(group=name, lower=float(lower), upper=float(upper), segment=segment)
                )
    bounds = bounds or [Bound(group="acme", lower=0.1)]
    return Case(limits_of(bounds, rng.random((30, SALES)) < 0.8))


def found(limits: Limits) -> Infeasible | None:
    return limits.simple() or limits.search([])


def test_a_proof_is_found_where_and_only_where_no_slates_keep_the_promises() -> None:
    verdicts = [(drawn(seed).kept, found(drawn(seed).limits) is None) for seed in range(60)]
    kept = [truth for truth, _ in verdicts]
    assert 10 <= sum(kept) <= 50
    # soundness is exact; the search may overlook what lacks next to nothing
    assert all(said for truth, said in verdicts if truth)
    assert sum(said for truth, said in verdicts if not truth) <= 1


def test_a_proof_can_be_added_up_by_hand() -> None:
    for seed in range(12):
        limits = drawn(seed).limits
        proof = found(limits)
        if proof is None:
            continue
        promises, sample = limits.promises, limits.sample
        lowers = {f"{bound.name}: at least {bound.lower:g}": b for b, bound in _bounds(promises)}
        uppers = {f"{bound.name}: at most {bound.upper:g}": b for b, bound in _bounds(promises)}
        worth = np.zeros((len(sample.segment), SALES))
        asked = 0.0
        for said, weight in zip(proof.bounds, proof.weights, strict=True):
            b = (lowers if weight > 0 else uppers)[said]
            asked += weight * float((promises.lower if weight > 0 else promises.upper)[b])
            mine = promises.within[b][sample.segment]
            worth += np.outer(mine / mine.sum(), promises.holds[b]) * weight
        most = sum(
            sum(sorted(worth[m][sample.eligible[m]], reverse=True)[: limits.slots[m]])
            for m in range(len(worth))
        )
        assert proof.promised == pytest.approx(asked)
        assert proof.attainable == pytest.approx(most)
        assert proof.short == pytest.approx(asked - most)
        assert proof.short > 0
        assert np.abs(proof.weights).max() == 1


def _bounds(promises: Promises) -> list[tuple[int, Bound]]:
    return [(b, bound) for b, bound in enumerate(promises.bounds)]


ALL = np.ones((30, SALES), dtype=np.bool_)
HALF: Bool = np.broadcast_to(np.arange(30)[:, None] % 2 == 0, (30, SALES)).copy()
FIVE: Bool = np.broadcast_to(np.arange(SALES) < 5, (30, SALES)).copy()
"""Without sale 5 every place is of acme or of curated."""


@pytest.mark.parametrize(
    ("bounds", "eligible", "amounts"),
    [
        ([Bound(group="sale 1", lower=0.6)], HALF, (0.6, 0.5)),
        ([Bound(group="sale 1", lower=0.6, segment="south")], HALF, (0.6, 0.5)),
        ([Bound(group="acme", lower=1.1)], HALF, (1.1, 1.0)),
        ([Bound(group=f"sale {s}", lower=0.4) for s in range(SALES)], ALL, (2.4, 2.0)),
        ([Bound(group=f"sale {s}", upper=0.3) for s in range(SALES)], ALL, (-1.8, -2.0)),
        ([Bound(group="acme", upper=0.2), Bound(group="curated", upper=0.3)], FIVE, (-0.5, -2.0)),
        ([Bound(group="sale 0", lower=0.5), Bound(group="acme", upper=0.4)], ALL, (0.1, 0.0)),
        (
            [Bound(group="sale 5", lower=0.9, segment="south"), Bound(group="sale 5", upper=0.2)],
            ALL,
            (0.9 / 3 - 0.2, 0.0),
        ),
    ],
)
def test_planted_promises_that_cannot_be_kept_are_named_with_their_amounts(
    bounds: list[Bound], eligible: Bool, amounts: tuple[float, float]
) -> None:
    proof = found(limits_of(bounds, eligible))
    assert proof is not None
    assert {said.partition(":")[0] for said in proof.bounds} == {bound.name for bound in bounds}
    assert (proof.promised, proof.attainable) == pytest.approx(amounts)
    # beside a promise that can well be kept, the same ones are named
    beside = Bound(group="curated", lower=0.01, upper=1.99, segment="north")
    again = limits_of([*bounds, beside], eligible).search([])
    assert again is not None
    assert {said.partition(":")[0] for said in again.bounds} == {bound.name for bound in bounds}


@pytest.mark.parametrize(
    ("bounds", "eligible"),
    [
        ([Bound(group="sale 1", lower=0.5)], HALF),
        ([Bound(group="acme", lower=1.0)], HALF),
        ([Bound(group=f"sale {s}", lower=1 / 3) for s in range(SALES)], ALL),
        ([Bound(group=f"sale {s}", upper=1 / 3) for s in range(SALES)], ALL),
        ([Bound(group="sale 0", lower=0.4), Bound(group="acme", upper=0.4)], ALL),
        ([Bound(group="acme", lower=2.0)], ALL),
    ],
)
def test_promises_that_can_just_be_kept_are_not_called_impossible(
    bounds: list[Bound], eligible: Bool
) -> None:
    assert found(limits_of(bounds, eligible)) is None


def test_members_who_are_not_in_the_sample_are_given_the_benefit_of_the_doubt() -> None:
    # 30 members, half of whom may see the sale: the audience's share may well be 0.55
    bounds = [Bound(group="sale 1", lower=0.55)]
    assert found(limits_of(bounds, HALF)) is not None
    assert found(limits_of(bounds, HALF, doubt=2.0)) is None
    assert found(limits_of([Bound(group="sale 1", lower=0.9)], HALF, doubt=2.0)) is not None


def test_slates_that_are_not_sent_give_nothing() -> None:
    limits = limits_of([Bound(group="sale 1", lower=0.3)], ALL)
    assert found(limits) is None
    silent = Limits(limits.promises, limits.sample, np.where(np.arange(30) < 6, SLOTS, 0))
    proof = silent.simple()
    assert proof is not None
    assert proof.attainable == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("weights", "promised", "said"),
    [
        ([1.0], 2.0, ("promises", "b0", "they ask for 2.0000 sales a member, the most")),
        ([-1.0, -1.0], -2.0, ("promises together", "b0; b1", "they allow 2.0000 sales a member")),
        ([0.5, -1.0], 0.2, ("together", "b1; 0.50 x (b0)", "minimums less maximums are 0.2000")),
        ([1.0] * 9, 9.0, ("together", "b0; b1; b2; b3; b4; b5; and 3 more", "they ask for 9.00")),
    ],
)
def test_what_cannot_be_kept_is_told_in_words(
    weights: list[float], promised: float, said: tuple[str, str, str]
) -> None:
    names = tuple(f"b{b}" for b in range(len(weights)))
    told = Infeasible(names, _f64(weights), promised, promised - 0.1).told
    assert told[0].endswith(said[0])
    assert told[1] == said[1]
    assert told[2].startswith(said[2])


def _f64(numbers: list[float]) -> F64:
    return np.array(numbers, dtype=np.float64)


def test_nobody_has_a_segment_of_no_name() -> None:
    within = limits_of([Bound(group="acme", lower=0.1, segment="south")], ALL).within
    assert within[:, 0].sum() == 10
    assert not within[np.arange(30) % 3 - 1 == NONE, 0].any()
