"""Sifted, certified and looked at again, the best are those of a full sort."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import NONE
from recsys.towers.offer import Offer
from recsys.towers.pick import Picker, Sifted
from tests.towers.searching import (
    NOTHING,
    PLANS,
    allowed,
    found,
    normal,
    scored_whole,
    some_filters,
    sorted_whole,
)


@pytest.mark.parametrize("name", PLANS)
@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 160),
    k=st.integers(1, 9),
    low=st.integers(-3, 1),
    levels=st.integers(1, 4),
)
def test_the_best_are_those_of_a_full_sort_with_ties_by_hash(
    name: str, seed: int, n: int, k: int, low: int, levels: int
) -> None:
    rng = np.random.default_rng(seed)
    # few whole numbers: many ties, and products that bfloat16 holds
    sales = rng.integers(low, low + levels, size=(n, 3)).astype(np.float32)
    members = rng.integers(0, 3, size=(7, 3)).astype(np.float32)
    filters = some_filters(rng, 7, n)
    best = found(members, sales, replace(PLANS[name], k=k), filters=filters, seed=seed % 5)
    may = allowed(filters, 7, n)
    assert best.sales.tolist() == sorted_whole(members @ sales.T, may, k, seed=seed % 5)
    there = best.sales != NONE
    assert np.isneginf(best.scores[~there]).all()
    own = np.take_along_axis(members @ sales.T, np.maximum(best.sales, 0), axis=1)
    assert np.array_equal(best.scores[there], own[there])


@pytest.mark.parametrize("name", [name for name, plan in PLANS.items() if plan.exact])
@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(20, 900),
    k=st.integers(1, 30),
    spread=st.sampled_from([0.0, 1e-6, 1e-3, 1.0]),
    shift=st.sampled_from([-2.0, 0.0, 2.0]),
)
def test_scores_too_close_for_the_sieve_are_told_apart(
    name: str, seed: int, n: int, k: int, spread: float, shift: float
) -> None:
    rng = np.random.default_rng(seed)
    members = normal(6, 9, seed=seed)
    members[0] = 0
    sales = (normal(1, 9, seed=seed + 1) + spread * rng.normal(size=(n, 9))).astype(np.float32)
    members[:, 8], sales[:, 8] = 1, shift
    filters = some_filters(rng, 6, n)
    best = found(members, sales, replace(PLANS[name], k=k), filters=filters)
    may = allowed(filters, 6, n)
    assert best.sales.tolist() == sorted_whole(scored_whole(members, sales), may, k)


def test_a_gpus_way_to_select_finds_the_same() -> None:
    members, sales = normal(50, 32), normal(1_000, 32, seed=1)
    host = found(members, sales, replace(PLANS["float32 sieve"], k=40))
    device = found(members, sales, replace(PLANS["as a GPU selects"], k=40))
    assert np.array_equal(host.sales, device.sales)
    assert np.array_equal(host.scores, device.scores)


def test_a_sieve_that_blurs_too_much_is_given_up_without_a_trace() -> None:
    sales = normal(1, 16) + 1e-3 * normal(600, 16, seed=1)
    members, plan = normal(40, 16, seed=2), replace(PLANS["bfloat16 sieve"], k=5)
    offer = Offer.of(sales, None, seed=0, device="cpu")
    picker = Picker(Sifted.of(offer, plan), plan, members=members, filters=NOTHING)
    rooms = len(picker.rooms)
    halves = [picker.pick(0, 20), picker.pick(20, 40)]
    assert len(picker.rooms) == rooms - 1
    float32 = found(members, sales, replace(PLANS["float32 sieve"], k=5))
    assert np.array_equal(np.concatenate([rows for rows, _ in halves]), float32.sales)
    assert np.array_equal(np.concatenate([scores for _, scores in halves]), float32.scores)
