from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.evaluate.reliability import reliability, wilson


def test_bins_of_equal_mass_by_rising_prediction() -> None:
    value = np.array([0.4, 0.1, 0.3, 0.2], dtype=np.float32)
    happened = np.array([True, False, True, False])
    found = reliability(value, happened, bins=2)
    np.testing.assert_allclose(found.predicted, [0.15, 0.35], rtol=1e-6)
    np.testing.assert_array_equal(found.rate, [0, 1])
    np.testing.assert_array_equal(found.n, [2, 2])
    assert found.ratio == pytest.approx(1 / 2)
    assert found.error == pytest.approx((0.15 + 0.65) / 2)


def test_an_interval_after_wilson() -> None:
    # 1 of 10: centre (0.1 + z^2/20) / (1 + z^2/10)
    low, high = wilson(np.array([0.1]), np.array([10]))
    assert (low[0], high[0]) == pytest.approx((0.01788, 0.40415), abs=1e-4)
    low, high = wilson(np.array([0.0, 1.0]), np.array([10, 10]))
    assert low[0] == 0
    assert high[1] == pytest.approx(1)
    assert 0 < high[0] < 1


def test_fewer_rows_than_bins_make_fewer_bins() -> None:
    found = reliability(np.array([0.2, 0.1, 0.3], dtype=np.float32), np.array([True, False, True]))
    np.testing.assert_array_equal(found.n, [1, 1, 1])
    np.testing.assert_array_equal(found.rate, [0, 1, 1])


def test_no_outcome_defines_no_ratio() -> None:
    assert math.isnan(reliability(np.ones(3, dtype=np.float32), np.zeros(3, dtype=bool)).ratio)


@pytest.mark.parametrize(("values", "outcomes"), [(0, 0), (2, 3)])
def test_nothing_to_compare_is_refused(values: int, outcomes: int) -> None:
    with pytest.raises(ValueError, match=f"{values} predictions for {outcomes} outcomes"):
        reliability(np.ones(values, dtype=np.float32), np.zeros(outcomes, dtype=np.bool_))


@given(st.integers(1, 200), st.integers(1, 12), st.integers(0, 1000))
def test_bins_hold_every_row_once(rows: int, bins: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    value = rng.random(rows).astype(np.float32)
    happened = rng.random(rows) < 0.4
    found = reliability(value, happened, bins=bins)
    assert len(found.n) == min(bins, rows)
    assert found.n.sum() == rows
    assert found.n.max() - found.n.min() <= 1
    assert (np.diff(found.predicted) >= 0).all()
    assert found.rate @ found.n == pytest.approx(happened.sum())
    assert found.predicted @ found.n == pytest.approx(value.sum(dtype=np.float64))
    assert (found.low <= found.rate + 1e-12).all()
    assert (found.rate <= found.high + 1e-12).all()
    assert 0 <= found.error <= 1


def test_chances_that_are_right_are_found_right() -> None:
    rng = np.random.default_rng(0)
    value = rng.beta(1, 9, 40_000).astype(np.float32)
    found = reliability(value, rng.random(40_000) < value)
    # of the standard error of the sum: 3.3 is passed 999 times in 1,000
    error = math.sqrt(float((value * (1 - value)).sum())) / float(value.sum())
    assert abs(1 / found.ratio - 1) < 3.3 * error
    assert (np.abs(found.rate - found.predicted) < 4.2 * np.sqrt(found.rate / found.n)).all()
