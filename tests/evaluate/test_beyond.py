from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recsys.domain.arrays import F64
from recsys.evaluate.beyond import SMOOTHING, Shown, coverage, gini, ild, mix_kl, p90_coverage

EYE = sparse.csr_array(np.array([[1.0, 0], [0, 1], [0.6, 0.8], [0, 0]]))


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
