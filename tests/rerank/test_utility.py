from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.rerank.novelty import is_new, newness
from recsys.rerank.utility import deviation, ordered_sum, parts, sigma

SEEDS = st.integers(0, 2**32 - 1)
ONE = np.ones((1, 1), dtype=np.float32)


@settings(max_examples=50, deadline=None)
@given(
    seed=SEEDS,
    scale=st.sampled_from([1e-7, 1e-3, 1.0]),
    b=st.floats(0, 4),
    e=st.floats(0.25, 4),
    f=st.floats(0.1, 1),
)
def test_parts_are_what_decision_one_says(
    seed: int, *, scale: float, b: float, e: float, f: float
) -> None:
    rng = np.random.default_rng(seed)
    value = (rng.random((4, 9)) * scale).astype(np.float32)
    new = rng.random((4, 9)).astype(np.float32)
    made = parts(value, new, fatigue=ONE * np.float32(f), boost=ONE * np.float32(e), novelty=b)
    np.testing.assert_allclose(
        made.utility(), value.astype(np.float64) * f * e * (1 + b * new), rtol=2e-5, atol=0
    )
    again = made.amounts[0]
    for amount in made.amounts[1:]:
        again = again + amount
    np.testing.assert_array_equal(made.utility(), again)
    np.testing.assert_array_equal(ordered_sum(made.amounts), again)
    promised = (new * np.float32(scale), -new.max() * np.float32(scale) * ONE)
    priced = parts(value, new, fatigue=ONE, boost=ONE, novelty=0.0, promised=promised)
    np.testing.assert_array_equal(priced.utility(), value + promised[0] + promised[1])


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_with_all_dials_at_zero_utility_is_value(seed: int) -> None:
    value = np.random.default_rng(seed).random((3, 5)).astype(np.float32)
    made = parts(value, np.ones_like(value), fatigue=ONE, boost=ONE, novelty=0.0)
    np.testing.assert_array_equal(made.utility(), value)


def test_the_scale_of_variety_is_the_deviation_of_what_may_be_shown() -> None:
    value = np.array([[1, 3, 100], [2, 2, 2]], dtype=np.float32)
    eligible = np.array([[True, True, False], [True, True, True]])
    np.testing.assert_array_equal(deviation(value, eligible), np.array([1, 0], dtype=np.float32))
    assert sigma(value, eligible, median=5.0)[:, 0].tolist() == [1, 0.5]
    assert (sigma(value, np.zeros_like(eligible), median=0.0) > 0).all()


def test_what_may_not_be_shown_may_be_nan() -> None:
    value = np.array([[1, 3, np.nan]], dtype=np.float32)
    assert deviation(value, np.isfinite(value)).tolist() == [1]


def test_newness_grows_back_with_time_and_strict_newness_never_does() -> None:
    days = np.array([0, 180, 360, np.inf], dtype=np.float32)
    np.testing.assert_allclose(newness(days, soft=True), [0, 0.5, 0.75, 1])
    np.testing.assert_allclose(newness(days, soft=False), [0, 0, 0, 1])
    np.testing.assert_allclose(newness(days, soft=True, half_life_days=360)[2], 0.5)
    assert is_new(days).tolist() == [False, True, True, True]
    assert not is_new(np.array([179.9], dtype=np.float32))[0]
