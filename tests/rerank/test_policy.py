from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F32, I64, NONE
from recsys.domain.ties import uniform
from recsys.rerank.calibrated import Calibrated
from recsys.rerank.diversity import Mmr, Reranker, TopK
from recsys.rerank.dpp import Dpp
from recsys.rerank.policy import SlatePolicy
from recsys.rerank.spec import Spaced
from recsys.rerank.ssd import Ssd
from recsys.rerank.utility import Parts, ordered_sum
from tests.rerank.greedy import gains_by_hand
from tests.rerank.hand import RERANKERS, no_draws, offer_of

SEEDS = st.integers(0, 2**32 - 1)
every_reranker = pytest.mark.parametrize("reranker", RERANKERS, ids=lambda kind: kind.kind)


def chosen(table: F32, columns: I64) -> F32:
    return np.take_along_axis(table, np.maximum(columns, 0), axis=1)


@every_reranker
@settings(max_examples=40, deadline=None)
@given(
    seed=SEEDS,
    c=st.integers(1, 8),
    own=st.booleans(),
    most=st.integers(0, 2),
    apart=st.integers(1, 4),
)
def test_a_slate_is_that_of_greedy_by_hand(
    reranker: Reranker[Any], *, seed: int, c: int, own: bool, most: int, apart: int
) -> None:
    offer = offer_of(seed, n=5, c=c, own_shelves=own)
    spec = Spaced(slots=4, max_per_brand=most, apart=apart)
    policy = SlatePolicy(4, reranker, max_per_brand=most, apart=apart)
    picks = policy.act(offer, no_draws(5, 4))
    for member, slate in enumerate(picks.columns.tolist()):
        for slot, column in enumerate(slate):
            gains = gains_by_hand(offer, member, slate[:slot], reranker, spec)
            if column == NONE:
                assert not gains
                break
            # within the rounding of single precision
            assert gains[column] >= max(gains.values()) - 1e-4


@pytest.mark.parametrize("kind", [Mmr, Dpp, Ssd, Calibrated], ids=lambda kind: kind.__name__)
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 6), c=st.integers(1, 30), coarse=st.booleans())
def test_variety_of_weight_zero_is_topk(
    kind: Any, *, seed: int, n: int, c: int, coarse: bool
) -> None:
    offer = offer_of(seed, n=n, c=c, coarse=coarse)
    off = SlatePolicy(6, kind(weight=0.0)).act(offer, no_draws(n, 6))
    plain = SlatePolicy(6, TopK()).act(offer, no_draws(n, 6))
    np.testing.assert_array_equal(off.columns, plain.columns)
    assert not np.any(plain.diversity)


@every_reranker
@settings(max_examples=30, deadline=None)
@given(
    seed=SEEDS,
    n=st.integers(1, 9),
    c=st.integers(1, 25),
    most=st.integers(0, 2),
    temperature=st.sampled_from([0.0, 0.5]),
    coarse=st.booleans(),
)
def test_a_slate_is_full_has_no_repeats_and_keeps_to_what_may_be_shown(
    reranker: Reranker[Any],
    *,
    seed: int,
    n: int,
    c: int,
    most: int,
    temperature: float,
    coarse: bool,
) -> None:
    offer = offer_of(seed, n=n, c=c, coarse=coarse)
    policy = SlatePolicy(6, reranker, temperature, most, apart=3)
    picks = policy.act(offer, uniform(seed % 1000, np.arange(n)[:, None], np.arange(6)))
    for member, columns in enumerate(picks.columns):
        shown = columns[columns != NONE]
        assert (columns[: len(shown)] != NONE).all()
        assert len(set(shown.tolist())) == len(shown)
        assert offer.eligible[member, shown].all()
        room = offer.brand[0][offer.eligible[member]]
        counts = np.bincount(room)
        possible = counts.sum() if not most else np.minimum(counts, most).sum()
        assert len(shown) == min(6, possible)
        if most:
            assert np.bincount(offer.brand[0][shown], minlength=1).max(initial=0) <= most


@every_reranker
@settings(max_examples=30, deadline=None)
@given(
    seed=SEEDS,
    own=st.booleans(),
    coarse=st.booleans(),
    temperature=st.sampled_from([0.0, 0.3]),
    cut=st.integers(1, 8),
)
def test_slates_do_not_depend_on_chunks_or_the_order_of_members(
    reranker: Reranker[Any], *, seed: int, own: bool, coarse: bool, temperature: float, cut: int
) -> None:
    offer = offer_of(seed, n=9, c=12, own_shelves=own, coarse=coarse)
    draws = np.random.default_rng(seed).random((9, 6))
    policy = SlatePolicy(6, reranker, temperature, max_per_brand=2, apart=2)
    whole = policy.act(offer, draws)
    order = np.random.default_rng(seed).permutation(9)
    for rows in (order[:cut], order[cut:], np.array([4])):
        some = policy.act(offer.take(rows), draws[rows])
        np.testing.assert_array_equal(some.columns, whole.columns[rows])
        np.testing.assert_array_equal(some.diversity, whole.diversity[rows])
        np.testing.assert_array_equal(some.margin, whole.margin[rows])
        np.testing.assert_array_equal(some.log_propensity, whole.log_propensity[rows])


@every_reranker
@settings(max_examples=40, deadline=None)
@given(
    seed=SEEDS,
    more=st.floats(0, 2),
    apart=st.integers(1, 3),
    most=st.integers(0, 2),
    coarse=st.booleans(),
)
def test_raising_a_sale_never_shows_it_to_fewer_members(
    reranker: Reranker[Any], *, seed: int, more: float, apart: int, most: int, coarse: bool
) -> None:
    offer = offer_of(seed, n=30, c=10, coarse=coarse)
    policy = SlatePolicy(3, reranker, max_per_brand=most, apart=apart)
    before = policy.act(offer, no_draws(30, 3)).columns
    amounts = offer.parts.amounts.copy()
    amounts[0, :, 4] += np.float32(more)
    raised = replace(offer, parts=Parts(amounts=amounts))
    after = policy.act(raised, no_draws(30, 3)).columns
    shown = (before == 4).any(axis=1)
    assert (after == 4).any(axis=1)[shown].all()


@pytest.mark.parametrize("c", [2, 127, 128, 129, 255, 256, 300])
def test_the_first_column_among_equals_is_taken(c: int) -> None:
    offer = offer_of(c, n=20, c=c, coarse=True)
    offer = replace(offer, eligible=np.ones((20, c), dtype=np.bool_))
    columns = SlatePolicy(2, TopK()).act(offer, no_draws(20, 2)).columns
    by_worth = np.argsort(-offer.parts.utility(), axis=1, kind="stable")
    np.testing.assert_array_equal(columns, by_worth[:, :2])


class RowByRow(Mmr):
    def gains(self, state: F32) -> F32:
        return np.ascontiguousarray(super().gains(state))


@pytest.mark.parametrize("own", [False, True])
def test_gains_may_lie_in_memory_either_way(own: bool) -> None:
    offer = offer_of(7, n=30, c=12, own_shelves=own)
    one = SlatePolicy(6, Mmr(weight=1.0)).act(offer, no_draws(30, 6))
    other = SlatePolicy(6, RowByRow(weight=1.0)).act(offer, no_draws(30, 6))
    np.testing.assert_array_equal(one.columns, other.columns)
    np.testing.assert_array_equal(one.diversity, other.diversity)


@every_reranker
@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, c=st.integers(2, 15), coarse=st.booleans())
def test_the_margin_is_the_gain_above_the_best_sale_left_out(
    reranker: Reranker[Any], *, seed: int, c: int, coarse: bool
) -> None:
    offer = offer_of(seed, n=6, c=c, coarse=coarse)
    picks = SlatePolicy(1, reranker).act(offer, no_draws(6, 1))
    variety = offer.sigma * np.float32(reranker.weight) * reranker.gains(reranker.init(offer.view))
    gains = np.where(offer.eligible, offer.parts.utility() + variety, np.float32(-np.inf))
    ranked = -np.sort(-gains, axis=1)
    some = picks.columns[:, 0] != NONE
    np.testing.assert_array_equal(picks.margin[some, 0], ranked[some, 0] - ranked[some, 1])


@every_reranker
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, b=st.floats(0, 3))
def test_parts_add_up_to_the_gain_bit_for_bit(
    reranker: Reranker[Any], *, seed: int, b: float
) -> None:
    offer = offer_of(seed, n=6, c=9)
    picks = SlatePolicy(6, reranker).act(offer, no_draws(6, 6))
    logged = [chosen(amount, picks.columns) for amount in offer.parts.amounts]
    gain = ordered_sum(np.stack([*logged, picks.diversity]))
    utility = chosen(offer.parts.utility(), picks.columns)
    np.testing.assert_array_equal(gain, utility + picks.diversity)


def test_sales_of_one_category_stand_apart_where_the_shelf_allows() -> None:
    offer = offer_of(5, n=4, c=9)
    category = np.array([[0, 0, 0, 1, 1, 1, 2, 2, 2]])
    offer = replace(offer, category=category, eligible=np.ones((4, 9), dtype=np.bool_))
    shown = SlatePolicy(6, TopK(), apart=3).act(offer, no_draws(4, 6)).columns
    kinds = category[0][shown]
    assert (kinds[:, :-1] != kinds[:, 1:]).all()
    assert (kinds[:, :-2] != kinds[:, 2:]).all()
    alike = replace(offer, category=np.zeros((1, 9), dtype=np.int64))
    assert (SlatePolicy(6, TopK(), apart=3).act(alike, no_draws(4, 6)).columns != NONE).all()


@pytest.mark.parametrize(("n", "c"), [(1, 0), (3, 0), (0, 4), (1, 1)])
def test_nobody_and_nothing_are_fine(n: int, c: int) -> None:
    offer = offer_of(0, n=n, c=c)
    picks = SlatePolicy(6, Mmr(), temperature=0.5, max_per_brand=1).act(offer, no_draws(n, 6))
    assert picks.columns.shape == (n, 6)
    assert (picks.columns != NONE).sum() == offer.eligible.sum()
