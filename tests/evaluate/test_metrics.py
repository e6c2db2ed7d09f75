from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recsys.domain.arrays import F64
from recsys.evaluate.metrics import (
    SMOOTHING,
    Relevant,
    Shown,
    coverage,
    gini,
    ild,
    mix_kl,
    ndcg,
    ordering,
    p90_coverage,
    ranking,
)

HALF = 1 / math.log2(3)
"""What the second place is worth."""
THIRD = 1 / math.log2(4)
NEVER = np.inf
EYE = sparse.csr_array(np.array([[1.0, 0], [0, 1], [0.6, 0.8], [0, 0]]))


def relevant(
    request: list[int],
    *,
    num: int = 1,
    gain: list[float] | None = None,
    bought: list[bool] | None = None,
    seen: list[float] | None = None,
) -> Relevant:
    t = len(request)
    return Relevant(
        request=np.array(request, dtype=np.int64),
        num=num,
        gain=np.array(gain or [1.0] * t),
        bought=np.array(bought or [False] * t, dtype=np.bool_),
        seen=np.array(seen or [1.0] * t),
    )


def one(name: str, rank: list[float], found: Relevant, *, k: int = 3) -> float:
    return float(ranking(found, np.array(rank), (k,))[name][0])


def test_recall_divides_by_all_that_is_relevant() -> None:
    assert one("recall_at_3", [1, 3, 4, 9, NEVER], relevant([0] * 5)) == pytest.approx(2 / 5)


def test_capped_recall_divides_by_what_the_list_can_hold() -> None:
    assert one("capped_recall_at_3", [1, 3, 4, 9, NEVER], relevant([0] * 5)) == pytest.approx(2 / 3)
    assert one("capped_recall_at_3", [1, 9], relevant([0] * 2)) == pytest.approx(1 / 2)


def test_a_hit_is_any_hit() -> None:
    assert one("hit_at_3", [3, 2], relevant([0] * 2)) == 1
    assert one("hit_at_3", [4, 5], relevant([0] * 2)) == 0


@pytest.mark.parametrize(("rank", "worth"), [([2, 5], 1 / 2), ([NEVER, 9], 1 / 9), ([NEVER], 0)])
def test_mrr_is_one_over_the_first_place(rank: list[float], worth: float) -> None:
    assert one("mrr", rank, relevant([0] * len(rank))) == worth


def test_ndcg_of_places_one_and_three_of_two() -> None:
    assert one("ndcg_at_3", [1, 3], relevant([0, 0])) == pytest.approx((1 + THIRD) / (1 + HALF))


def test_the_ideal_order_is_cut_at_k() -> None:
    assert one("ndcg_at_2", [1, 2, 3, 4], relevant([0] * 4), k=2) == pytest.approx(1)


def test_value_ndcg_weighs_by_gain_and_sorts_the_ideal_order_by_it() -> None:
    found = relevant([0, 0], gain=[1, 8])
    worth = (8 * HALF + 1) / (8 + HALF)
    assert one("value_ndcg_at_3", [1, 2], found) == pytest.approx(worth)
    assert one("value_ndcg_at_3", [2, 1], found) == pytest.approx(1)


def test_purchase_ndcg_sees_purchases_only() -> None:
    found = relevant([0, 0], bought=[False, True])
    assert one("purchase_ndcg_at_3", [1, 2], found) == pytest.approx(HALF)
    nothing = relevant([0, 0])
    assert math.isnan(one("purchase_ndcg_at_3", [1, 2], nothing))


def test_debiased_recall_weighs_by_inverse_popularity() -> None:
    found = relevant([0, 0], seen=[1, 4])
    assert one("debiased_recall_at_3", [9, 1], found) == pytest.approx((1 / 4) / (1 + 1 / 4))
    assert one("debiased_recall_at_3", [1, 9], found) == pytest.approx(1 / (1 + 1 / 4))


def test_a_request_without_anything_relevant_defines_no_figure() -> None:
    figures = ranking(relevant([0, 2], num=3), np.array([1.0, NEVER]), (3, 5))
    assert all(math.isnan(values[1]) for values in figures.values())
    defined = {name for name in figures if "purchase" not in name}
    assert all(not math.isnan(figures[name][row]) for name in defined for row in (0, 2))


def test_auc_counts_pairs_and_halves_ties() -> None:
    # five sales, two relevant: one behind one other sale, one tied with one and behind two
    better = np.array([1.0, 2 + 0.5 + 1])
    figures = ordering(relevant([0, 0]), better, np.array([2.0, 4.0]), pool=np.array([5]))
    assert figures["auc"][0] == pytest.approx(1 - (1 + 2.5) / 6)


def test_mean_percentile_rank_is_zero_first_and_one_last() -> None:
    figures = ordering(
        relevant([0, 1, 2, 2], num=3),
        np.array([0.0, 4, 1, 3]),
        np.array([1.0, 5, 2, 4]),
        pool=np.array([5, 5, 5]),
    )
    np.testing.assert_allclose(figures["mean_percentile_rank"], [0, 1, 0.5])


def test_a_pool_of_nothing_but_the_relevant_orders_nothing() -> None:
    figures = ordering(relevant([0]), np.zeros(1), np.ones(1), pool=np.array([1]))
    assert all(math.isnan(values[0]) for values in figures.values())


def test_requests_do_not_mix() -> None:
    found = relevant([0, 0, 1], num=2, gain=[2, 4, 8])
    apart = [
        ndcg(relevant([0, 0], gain=[2, 4]), np.array([2.0, 3]), 3, gain=np.array([2.0, 4])),
        ndcg(relevant([0], gain=[8]), np.array([4.0]), 3, gain=np.array([8.0])),
    ]
    together = ndcg(found, np.array([2.0, 3, 4]), 3, gain=found.gain)
    np.testing.assert_allclose(together, np.concatenate(apart))


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=12, unique=True),
    st.integers(1, 20),
    st.integers(0, 11),
)
def test_a_better_place_never_costs_anything(ranks: list[int], k: int, which: int) -> None:
    place = which % len(ranks)
    better = list(ranks)
    free = [r for r in range(1, ranks[place]) if r not in ranks]
    better[place] = free[0] if free else ranks[place]
    found = relevant([0] * len(ranks), gain=[float(1 + r % 3) for r in range(len(ranks))])
    before = ranking(found, np.array(ranks, dtype=float), (k,))
    after = ranking(found, np.array(better, dtype=float), (k,))
    for name in before.keys() - {f"purchase_ndcg_at_{k}"}:
        assert 0 <= before[name][0] <= after[name][0] + 1e-12
        assert after[name][0] <= 1 + 1e-12


def shown(*columns: list[int]) -> Shown:
    """Slates of columns, -1 = empty."""
    column = np.array(columns, dtype=np.int64)
    return Shown(column, column >= 0)


def test_variety_is_one_minus_the_mean_cosine_of_pairs() -> None:
    found = ild(shown([0, 1, 2], [0, 1, -1], [0, 2, -1]), EYE)
    np.testing.assert_allclose(found, [1 - (0 + 0.6 + 0.8) / 3, 1, 0.4])


def test_less_than_two_places_have_no_variety() -> None:
    assert np.isnan(ild(shown([0, -1], [-1, -1]), EYE)).all()


def test_a_sale_without_content_is_like_no_other() -> None:
    assert ild(shown([0, 3]), EYE)[0] == 1


def test_a_mean_over_places_leaves_out_the_empty_ones() -> None:
    slates = shown([0, 2, -1], [1, -1, -1], [-1, -1, -1])
    for_all = slates.mean(np.array([[1.0, 2, 4, 100]], dtype=np.float32))
    np.testing.assert_allclose(for_all, [2.5, 2, np.nan])
    for_each = slates.mean(np.array([[True, True, False, True]] * 3))
    np.testing.assert_allclose(for_each, [0.5, 1, np.nan])


def test_the_first_places_are_the_first() -> None:
    assert shown([3, 1, -1]).first(2).column.tolist() == [[3, 1]]


def test_a_mix_is_held_against_the_members_own() -> None:
    kinds = np.array([0, 1, 2, 0], dtype=np.int32)
    own = np.array([[3, 1, 7]], dtype=np.float32)
    found = mix_kl(shown([0, 3, 2]), kinds, own)[0]
    # the last kind stands for "not known" and counts on neither side
    q = ((1 - SMOOTHING) * 1 + SMOOTHING * 0.75, SMOOTHING * 0.25)
    assert found == pytest.approx(0.75 * math.log(0.75 / q[0]) + 0.25 * math.log(0.25 / q[1]))


def test_the_members_own_mix_is_at_no_distance() -> None:
    kinds = np.array([0, 1, 2], dtype=np.int32)
    found = mix_kl(shown([0, 1]), kinds, np.array([[2, 2, 0]], dtype=np.float32))
    np.testing.assert_allclose(found, [0], atol=1e-12)


def test_no_past_or_no_known_kind_has_no_mix() -> None:
    kinds = np.array([0, 1, 2], dtype=np.int32)
    nobody, someone = np.zeros((1, 3), dtype=np.float32), np.ones((1, 3), dtype=np.float32)
    assert np.isnan(mix_kl(shown([0, 1]), kinds, nobody)).all()
    assert np.isnan(mix_kl(shown([2, -1]), kinds, someone)).all()


def counts(*of_sale: float) -> F64:
    return np.array(of_sale, dtype=np.float64)[:, None]


@pytest.mark.parametrize(
    ("figure", "of_sale", "value"),
    [
        (coverage, (0, 2, 0, 1), 1 / 2),
        (p90_coverage, (90, 5, 5, 0), 1 / 4),
        (p90_coverage, (80, 10, 10, 0), 2 / 4),
        (p90_coverage, (25, 25, 25, 25), 1),
        (gini, (5, 5, 5, 5), 0),
        (gini, (0, 0, 0, 8), 3 / 4),
        (gini, (1, 3), 1 / 4),
        (gini, (0, 0), 0),
    ],
)
def test_reach_of_four_sales(
    figure: Callable[[F64], F64], of_sale: tuple[float, ...], value: float
) -> None:
    assert figure(counts(*of_sale))[0] == pytest.approx(value)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12).filter(any))
def test_reach_does_not_ask_for_the_order_or_the_scale_of_counts(of_sale: list[int]) -> None:
    for figure in (coverage, p90_coverage, gini):
        value = figure(counts(*of_sale))[0]
        assert 0 <= value <= 1
        assert figure(counts(*sorted(of_sale)))[0] == pytest.approx(value)
        assert figure(3 * counts(*of_sale))[0] == pytest.approx(value)


@given(st.lists(st.integers(0, 20), min_size=2, max_size=12).filter(any))
def test_gini_is_half_the_mean_difference_over_the_mean(of_sale: list[int]) -> None:
    apart = sum(abs(a - b) for a in of_sale for b in of_sale)
    expected = apart / (2 * len(of_sale) * sum(of_sale))
    assert gini(counts(*of_sale))[0] == pytest.approx(expected)
