from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import I64, NONE
from recsys.domain.ties import uniform
from recsys.rerank.diversity import Mmr, Reranker, TopK
from recsys.rerank.policy import SlatePolicy
from tests.rerank.hand import RERANKERS, no_draws, offer_of

SEEDS = st.integers(0, 2**32 - 1)
every_reranker = pytest.mark.parametrize("reranker", RERANKERS, ids=lambda kind: kind.kind)


@every_reranker
@settings(max_examples=30, deadline=None)
@given(
    seed=SEEDS,
    c=st.integers(1, 12),
    temperature=st.sampled_from([0.0, 0.05, 1.0]),
    most=st.integers(0, 2),
)
def test_the_chance_of_a_slate_is_what_was_logged_when_it_was_made(
    reranker: Reranker[Any], *, seed: int, c: int, temperature: float, most: int
) -> None:
    offer = offer_of(seed, n=6, c=c)
    policy = SlatePolicy(5, reranker, temperature, most, apart=2)
    picks = policy.act(offer, np.random.default_rng(seed).random((6, 5)))
    again = policy.log_prob(offer, picks.columns)
    np.testing.assert_array_equal(again, picks.log_propensity)
    assert (again <= 0).all()
    assert np.isfinite(again).all()


def test_a_slate_the_policy_never_makes_has_no_chance() -> None:
    offer = offer_of(3, n=1, c=6)
    offer = replace(offer, eligible=np.array([[True, True, True, True, True, False]]))
    policy = SlatePolicy(2, TopK(), temperature=1.0)
    impossible = np.array([[5, 0], [0, 0], [NONE, NONE]])
    for slate in impossible:
        assert policy.log_prob(offer, slate[None]).sum() == -np.inf


def test_without_a_temperature_only_the_best_slate_has_a_chance() -> None:
    offer = offer_of(9, n=20, c=6)
    policy = SlatePolicy(3, Mmr())
    columns = policy.act(offer, no_draws(20, 3)).columns
    assert not policy.log_prob(offer, columns).any()
    other = columns.copy()
    other[:, :2] = columns[:, 1::-1]
    filled = columns[:, 1] != NONE
    np.testing.assert_array_equal(policy.log_prob(offer, other)[filled, 0], -np.inf)


@pytest.mark.parametrize("draw", [0.0, np.nextafter(1, 0)])
def test_no_draw_picks_a_sale_without_a_chance(draw: float) -> None:
    # at this temperature most chances are below the smallest number
    offer = offer_of(6, n=200, c=12, coarse=True)
    picks = SlatePolicy(6, Mmr(), temperature=1e-4).act(offer, np.full((200, 6), draw))
    assert (picks.columns[offer.eligible.sum(axis=1) >= 6] != NONE).all()
    assert (np.exp(picks.log_propensity.astype(np.float64)) > 0).all()


@every_reranker
def test_sales_are_drawn_as_often_as_their_logged_chance_says(reranker: Reranker[Any]) -> None:
    n = 40_000
    one = offer_of(8, n=1, c=6)
    offer = one.take(np.zeros(n, dtype=np.int64))
    policy = SlatePolicy(3, reranker, temperature=1.0, max_per_brand=2)
    picks = policy.act(offer, uniform(7, np.arange(n)[:, None], np.arange(3)))
    first = np.bincount(picks.columns[:, 0], minlength=6) / n
    chance = np.exp(policy.log_prob(one.take(np.zeros(6, dtype=np.int64)), _each_first(6))[:, 0])
    assert chance.sum() == pytest.approx(1, abs=1e-6)
    error = np.sqrt(chance * (1 - chance) / n)
    assert (np.abs(first - chance) <= 4 * error + 1e-12).all()
    # later slots: the weight 1 / chance of a slate brings the number of possible slates back
    slates, counts = np.unique(picks.columns, axis=0, return_counts=True)
    whole = np.exp(policy.log_prob(one.take(np.zeros(len(slates), dtype=np.int64)), slates))
    each = whole.astype(np.float64).prod(axis=1)
    assert each.sum() <= 1 + 1e-6
    error = np.sqrt(each * (1 - each) / n)
    assert (np.abs(counts / n - each) <= 4.5 * error + 2 / n).all()


def _each_first(num: int) -> I64:
    columns = np.full((num, 3), NONE, dtype=np.int64)
    columns[:, 0] = np.arange(num)
    return columns
