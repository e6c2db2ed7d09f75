from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F32, I64, NONE
from recsys.domain.ties import uniform
from recsys.rerank.diversity import Mmr, Reranker, ShelfView, TopK
from recsys.rerank.policy import Offer, SlatePolicy
from recsys.rerank.spec import Spaced
from recsys.rerank.utility import Parts, ordered_sum
from tests.rerank.hand import RERANKERS, best_by_hand, no_draws, offer_of

SEEDS = st.integers(0, 2**32 - 1)
every_reranker = pytest.mark.parametrize("reranker", RERANKERS, ids=lambda kind: kind.kind)


def at_rows(offer: Offer, rows: I64) -> Offer:
    """The same offer to some of its members."""
    own = len(offer.brand) > 1
    return replace(
        offer,
        parts=Parts(amounts=offer.parts.amounts[:, rows]),
        eligible=offer.eligible[rows],
        sigma=offer.sigma[rows],
        view=ShelfView(
            unit=offer.view.unit[rows] if own else offer.view.unit, num_members=len(rows)
        ),
        brand=offer.brand[rows] if own else offer.brand,
        category=offer.category[rows] if own else offer.category,
    )


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
    reranker: Reranker, *, seed: int, c: int, own: bool, most: int, apart: int
) -> None:
    offer = offer_of(seed, n=5, c=c, own_shelves=own)
    spec = Spaced(slots=4, max_per_brand=most, apart=apart)
    policy = SlatePolicy(4, reranker, max_per_brand=most, apart=apart)
    picks = policy.act(offer, no_draws(5, 4))
    for member in range(5):
        columns = picks.columns[member]
        assert columns[columns != NONE].tolist() == best_by_hand(offer, member, reranker, spec)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 6), c=st.integers(1, 30), coarse=st.booleans())
def test_variety_of_weight_zero_is_topk(seed: int, n: int, c: int, *, coarse: bool) -> None:
    offer = offer_of(seed, n=n, c=c, coarse=coarse)
    off = SlatePolicy(6, Mmr(weight=0.0)).act(offer, no_draws(n, 6))
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
    reranker: Reranker,
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
    reranker: Reranker, *, seed: int, own: bool, coarse: bool, temperature: float, cut: int
) -> None:
    offer = offer_of(seed, n=9, c=12, own_shelves=own, coarse=coarse)
    draws = np.random.default_rng(seed).random((9, 6))
    policy = SlatePolicy(6, reranker, temperature, max_per_brand=2, apart=2)
    whole = policy.act(offer, draws)
    order = np.random.default_rng(seed).permutation(9)
    for rows in (order[:cut], order[cut:], np.array([4])):
        some = policy.act(at_rows(offer, rows), draws[rows])
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
    reranker: Reranker, *, seed: int, more: float, apart: int, most: int, coarse: bool
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


@every_reranker
@settings(max_examples=30, deadline=None)
@given(
    seed=SEEDS,
    c=st.integers(1, 12),
    temperature=st.sampled_from([0.0, 0.05, 1.0]),
    most=st.integers(0, 2),
)
def test_the_chance_of_a_slate_is_what_was_logged_when_it_was_made(
    reranker: Reranker, *, seed: int, c: int, temperature: float, most: int
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


@every_reranker
def test_sales_are_drawn_as_often_as_their_logged_chance_says(reranker: Reranker) -> None:
    n = 40_000
    one = offer_of(8, n=1, c=6)
    offer = at_rows(one, np.zeros(n, dtype=np.int64))
    policy = SlatePolicy(3, reranker, temperature=1.0, max_per_brand=2)
    picks = policy.act(offer, uniform(7, np.arange(n)[:, None], np.arange(3)))
    first = np.bincount(picks.columns[:, 0], minlength=6) / n
    chance = np.exp(
        policy.log_prob(at_rows(one, np.zeros(6, dtype=np.int64)), _each_first(6))[:, 0]
    )
    assert chance.sum() == pytest.approx(1, abs=1e-6)
    error = np.sqrt(chance * (1 - chance) / n)
    assert (np.abs(first - chance) <= 4 * error + 1e-12).all()
    # later slots: the weight 1 / chance of a slate brings the number of possible slates back
    slates, counts = np.unique(picks.columns, axis=0, return_counts=True)
    whole = np.exp(policy.log_prob(at_rows(one, np.zeros(len(slates), dtype=np.int64)), slates))
    each = whole.astype(np.float64).prod(axis=1)
    assert each.sum() <= 1 + 1e-6
    error = np.sqrt(each * (1 - each) / n)
    assert (np.abs(counts / n - each) <= 4.5 * error + 2 / n).all()


def _each_first(num: int) -> I64:
    columns = np.full((num, 3), NONE, dtype=np.int64)
    columns[:, 0] = np.arange(num)
    return columns


@every_reranker
@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, c=st.integers(2, 15), coarse=st.booleans())
def test_the_margin_is_the_gain_above_the_best_sale_left_out(
    reranker: Reranker, *, seed: int, c: int, coarse: bool
) -> None:
    offer = offer_of(seed, n=6, c=c, coarse=coarse)
    picks = SlatePolicy(1, reranker).act(offer, no_draws(6, 1))
    utility = np.where(offer.eligible, offer.parts.utility(), np.float32(-np.inf))
    ranked = -np.sort(-utility, axis=1)
    some = picks.columns[:, 0] != NONE
    np.testing.assert_array_equal(picks.margin[some, 0], ranked[some, 0] - ranked[some, 1])


@every_reranker
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, b=st.floats(0, 3))
def test_parts_add_up_to_the_gain_bit_for_bit(reranker: Reranker, *, seed: int, b: float) -> None:
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
