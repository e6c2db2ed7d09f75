from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.allocate import SLOTS, Crowd, crowd, optimum, promised, shares_of, shelf_of
from recsys.campaign.allocate import NEAR, Act, solve, tightened
from recsys.campaign.bounds import Bound, Promises
from recsys.campaign.certificate import Infeasible, Limits, Sample
from recsys.domain.arrays import F64, I64, NONE
from recsys.domain.prices import Prices
from recsys.rerank.diversity import Mmr, TopK
from recsys.rerank.dpp import Dpp
from recsys.rerank.policy import SlatePolicy

TOPK = SlatePolicy(SLOTS, TopK())


def allocated(members: Crowd, promises: Promises, act: Act, **settings_: Any) -> Prices:
    found = solve(act, promises, members.sample, sigma=members.deviation, **settings_)
    assert isinstance(found, Prices), found.told
    return found


def priced(promises: Promises, floor: F64) -> Prices:
    nothing = np.zeros(len(floor), dtype=np.float32)
    return Prices(
        groups=tuple(bound.group for bound in promises.bounds),
        segments=tuple(bound.segment for bound in promises.bounds),
        floor=floor.astype(np.float32),
        cap=nothing,
        missed=nothing,
    )


def test_prices_reach_the_optimum_of_the_linear_programme() -> None:
    members, promises = crowd(1_000, seed=3), promised()
    act = members.act(TOPK, promises)
    prices = allocated(members, promises, act, tighten=0.0)
    columns = act(prices)
    assert promises.missed(shares_of(members, promises, columns)).max() <= 0.005
    best = optimum(members, promises, slots=SLOTS)
    assert members.worth(columns) >= 0.995 * best
    # without prices slates are worth more, and keep no promise
    free = act(priced(promises, np.zeros(len(promises.bounds))))
    assert promises.missed(shares_of(members, promises, free)).max() > 0.3
    assert members.worth(free) > best


@pytest.mark.parametrize("reranker", [Mmr(), Dpp()], ids=lambda kind: kind.kind)
def test_prices_of_a_sample_keep_the_promises_to_members_who_were_not_in_it(reranker: Any) -> None:
    sample, others, promises = crowd(3_000, seed=1), crowd(20_000, seed=2), promised()
    policy = SlatePolicy(SLOTS, reranker)
    prices = allocated(sample, promises, sample.act(policy, promises), steps=40)
    shown = others.act(policy, promises)(prices)
    assert promises.missed(shares_of(others, promises, shown)).max() <= 0.002
    assert others.worth(shown) > 0.9 * others.worth(others.act(policy, promises)(_free(promises)))


def _free(promises: Promises) -> Prices:
    return priced(promises, np.zeros(len(promises.bounds)))


def test_members_worth_a_hundred_times_as_much_as_others_do_not_upset_the_steps() -> None:
    members, promises = crowd(2_000, seed=4), promised()
    times = np.exp(np.random.default_rng(4).normal(0, 1.3, (2_000, 1))).astype(np.float32)
    members = replace(members, value=members.value * times)
    act = members.act(TOPK, promises)
    columns = act(allocated(members, promises, act, tighten=0.0))
    assert promises.missed(shares_of(members, promises, columns)).max() <= 0.005


def test_promises_to_segments_brands_and_picks_are_kept_together() -> None:
    segments = ("north", "south", "west")
    bounds = [
        *promised().bounds,
        Bound(group="curated", lower=1.0),
        *(Bound(group=f"brand {b}", upper=1.2) for b in range(10)),
        *(Bound(group=f"brand {b}", lower=0.5, segment="south") for b in range(10)),
        Bound(group="sale 9", lower=0.3, segment="west"),
    ]
    promises = Promises(bounds=tuple(bounds), groups=shelf_of(), segments=segments)
    members = crowd(1_000, seed=5, segments=3)
    act = members.act(TOPK, promises)
    columns = act(allocated(members, promises, act, tighten=0.0))
    assert promises.missed(shares_of(members, promises, columns)).max() <= 0.005
    # a price for the south is nobody else's
    south = replace(promises, bounds=tuple(b for b in bounds if b.segment == "south"))
    prices = priced(south, np.linspace(0, 0.1, 10))
    moved = (members.act(TOPK, south)(prices) != act(_free(promises))).any(axis=1)
    assert moved.any()
    assert (members.segment[moved] == 1).all()


def test_where_nothing_is_missed_nothing_is_priced() -> None:
    members = crowd(300, seed=1)
    promises = Promises(bounds=(Bound(group="curated", lower=0.01),), groups=shelf_of())
    asked: list[Prices] = []

    def act(prices: Prices) -> I64:
        asked.append(prices)
        return members.act(TOPK, promises)(prices)

    prices = allocated(members, promises, act)
    assert len(asked) == 1
    assert not prices.floor.any()
    assert prices.violation == 0
    nothing = replace(promises, bounds=())
    assert allocated(members, nothing, members.act(TOPK, nothing)).groups == ()


def test_what_is_still_missed_is_what_the_prices_say() -> None:
    members, promises = crowd(500, seed=2), promised()
    act = members.act(TOPK, promises)
    found = allocated(members, promises, act, steps=1, tighten=0.0)
    missed = promises.missed(shares_of(members, promises, act(found)))
    np.testing.assert_array_equal(found.missed, missed.astype(np.float32))
    assert found.violation > 0
    assert found.fingerprint == allocated(members, promises, act, steps=1, tighten=0.0).fingerprint


@pytest.mark.parametrize("times", [1, 8])
def test_more_steps_never_miss_more_however_long_they_are(times: float) -> None:
    members, promises = crowd(400, seed=2), promised()
    act = members.act(TOPK, promises)
    sigma = times * members.deviation
    missed = []
    for steps in (0, 1, 2, 4, 8, 20):
        found = solve(act, promises, members.sample, sigma=sigma, steps=steps, tighten=0.0)
        assert isinstance(found, Prices)
        missed.append(found.violation)
    assert missed == sorted(missed, reverse=True)
    assert missed[-1] < missed[0] / 4


@pytest.mark.parametrize("tighten", [0.0, 2.0])
@pytest.mark.parametrize(
    "bounds",
    [
        [Bound(group=f"sale {s}", lower=0.15) for s in range(40)],
        [Bound(group=f"sale {s}", upper=0.15) for s in range(40)],
        [Bound(group=f"sale {s}", lower=0.15, upper=0.15) for s in range(40)],
        [*promised().bounds, Bound(group="brand 0", upper=0.8)],
    ],
)
def test_promises_that_take_all_there_is_are_not_called_impossible(
    bounds: list[Bound], tighten: float
) -> None:
    members = crowd(1_000, seed=1)
    promises = Promises(bounds=tuple(bounds), groups=shelf_of())
    prices = allocated(members, promises, members.act(TOPK, promises), tighten=tighten)
    # all slots are spoken for: the prices come near, and say by how much they do not
    assert prices.violation <= 0.02


@settings(max_examples=25)
@given(
    seed=st.integers(0, 999),
    more=st.floats(0, 0.2),
    name=st.sampled_from(["sale 7", "brand 2", "curated"]),
)
def test_a_higher_floor_never_shows_less_of_its_group(seed: int, more: float, name: str) -> None:
    members = crowd(60, seed=seed)
    bounds = (Bound(group=name, lower=0.1), *(Bound(group=f"sale {s}", lower=0.1) for s in (1, 2)))
    promises = Promises(bounds=bounds, groups=shelf_of())
    act = members.act(TOPK, promises)
    floors = np.random.default_rng(seed).uniform(0, 0.02, 3)
    before = shares_of(members, promises, act(priced(promises, floors)))
    floors[0] += more
    assert shares_of(members, promises, act(priced(promises, floors)))[0] >= before[0]


@pytest.mark.parametrize("reranker", [TopK(), Mmr()], ids=lambda kind: kind.kind)
def test_a_price_on_one_sale_leaves_the_odds_of_the_others_and_the_scale_as_they_were(
    reranker: Any,
) -> None:
    members = crowd(40, seed=6)
    promises = Promises(bounds=(Bound(group="sale 0", lower=0.1),), groups=shelf_of())
    policy = SlatePolicy(1, reranker, temperature=1.0)

    def odds(price: float) -> F64:
        (offer,) = members.priced(promises, priced(promises, np.array([price])))
        np.testing.assert_array_equal(offer.sigma, members.offers[0].sigma)
        first, second = (
            policy.log_prob(offer, np.full((40, 1), column)).astype(np.float64)[:, 0]
            for column in (1, 2)
        )
        both = members.eligible[:, 1] & members.eligible[:, 2]
        ratio: F64 = (first - second)[both]
        return ratio

    np.testing.assert_allclose(odds(0.0), odds(0.03), atol=1e-4)
    assert np.abs(odds(0.0)).max() > 0.1


def test_bounds_are_tightened_by_the_noise_of_the_sample_and_never_past_what_there_is() -> None:
    bounds = (
        Bound(group="sale 0", lower=0.2, upper=0.35),
        Bound(group="sale 1", lower=0.2, upper=0.2),
        Bound(group="sale 2", lower=1.0),
        Bound(group="sale 3", lower=0.499),
        Bound(group="curated", lower=0.5, segment="a"),
    )
    promises = Promises(bounds=bounds, groups=shelf_of(), segments=("a",))
    eligible = np.ones((400, 40), dtype=np.bool_)
    eligible[200:, 3] = False
    sample = Sample(np.repeat([0, NONE], [100, 300]).astype(np.int16), eligible)
    limits = Limits(promises, sample, np.full(400, 6), doubt=2.0)
    lower, upper = tightened(limits)
    np.testing.assert_allclose(
        lower,
        [0.2 + 2 * (0.16 / 400) ** 0.5, 0.2, 1.0, 0.5, 0.5 + 2 * (0.5 * 3.5 / 100) ** 0.5],
    )
    np.testing.assert_allclose(upper[:2], [0.35 - 2 * (0.35 * 0.65 / 400) ** 0.5, 0.2])
    assert np.isinf(upper[2:]).all()
    loose = Limits(promises, sample, np.full(400, 6))
    np.testing.assert_array_equal(tightened(loose)[0], promises.lower)
    np.testing.assert_array_equal(tightened(loose)[1], promises.upper)


def test_members_who_get_nothing_are_members_all_the_same() -> None:
    members = crowd(1_000, seed=1)
    eligible = members.eligible.copy()
    eligible[:500] = False
    members = replace(members, eligible=eligible)
    promises = Promises(bounds=(Bound(group="sale 1", lower=0.4),), groups=shelf_of())
    act = members.act(TOPK, promises)
    prices = allocated(members, promises, act, tighten=0.0)
    shown = (act(prices) == 1).sum() / 1_000
    assert 0.4 - NEAR * 2 <= shown <= 0.41
    halved = replace(promises, bounds=(Bound(group="sale 1", lower=0.6),))
    found = solve(members.act(TOPK, halved), halved, members.sample, sigma=members.deviation)
    assert isinstance(found, Infeasible)
    assert found.attainable == pytest.approx(0.5, abs=0.03)
