from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.scales import FARTHEST, Scale, Whitening
from recsys.domain.schema import Numeric

numbers = st.lists(
    st.none() | st.floats(-1e6, 1e6) | st.sampled_from([float("nan"), float("inf")]), max_size=50
)


@given(numbers, st.booleans())
def test_what_is_not_known_is_zero_and_nothing_is_far(
    values: list[float | None], log: bool
) -> None:
    series = pl.Series(values, dtype=pl.Float64)
    scale = Scale.fit(Numeric(column="x", log=log, buckets=8), series)
    dense, known = scale.dense(series), scale.known(series)
    assert np.isfinite(dense).all()
    assert (np.abs(dense) <= FARTHEST).all()
    assert (dense[~known] == 0).all()
    assert known.tolist() == [value is not None and np.isfinite(value) for value in values]


def test_the_training_part_has_mean_zero_and_deviation_one() -> None:
    series = pl.Series(np.random.default_rng(0).lognormal(3, 1, 999))
    dense = Scale.fit(Numeric(column="x", log=True), series).dense(series)
    assert dense.mean() == pytest.approx(0, abs=1e-5)
    assert dense.std() == pytest.approx(1, abs=1e-5)


def test_a_logarithm_brings_ratios_to_one_distance() -> None:
    scale = Scale.fit(Numeric(column="x", log=True), pl.Series([9.0, 99.0, 999.0]))
    steps = np.diff(scale.dense(pl.Series([9.0, 99.0, 999.0, 9999.0])))
    assert steps == pytest.approx(np.full(3, steps[0]), rel=1e-5)


def test_buckets_hold_equal_shares_of_the_training_part() -> None:
    series = pl.Series(np.random.default_rng(0).lognormal(3, 1, 3200))
    scale = Scale.fit(Numeric(column="x", log=True, buckets=32), series)
    assert np.bincount(scale.bucket(series)).tolist() == [100] * 32


def test_a_constant_column_is_zero_everywhere() -> None:
    series = pl.Series([7.0, 7.0, 7.0])
    assert Scale.fit(Numeric(column="x", buckets=4), series).dense(series).tolist() == [0, 0, 0]


@pytest.mark.parametrize("price", [49.9, 0.1, 1e6 / 3])
def test_one_price_for_all_is_no_scale_for_another(price: float) -> None:
    series = pl.Series([price] * 100)
    for log in (False, True):
        scale = Scale.fit(Numeric(column="x", log=log), series)
        near = scale.dense(pl.Series([price, price * 1.01]))
        assert near[0] == pytest.approx(0, abs=1e-6)
        assert abs(near[1]) <= price * 0.0101


def test_a_small_spread_far_from_zero_is_a_scale() -> None:
    hours = 1.7e9 + 60.0 * np.arange(60)
    scaled = Scale.fit(Numeric(column="x"), pl.Series(hours)).dense(pl.Series(hours))
    assert scaled.std() == pytest.approx(1, rel=1e-3)


def test_one_vector_for_all_is_no_direction() -> None:
    same = np.tile(np.random.default_rng(3).normal(size=6).astype(np.float32), (50, 1))
    assert not Whitening.fit(same, 4)(same + np.float32(1e-4)).any()


def skewed(n: int = 2000, d: int = 12) -> np.ndarray:
    rng = np.random.default_rng(1)
    mixed = rng.normal(size=(n, d)) * np.geomspace(10, 0.1, d) @ rng.normal(size=(d, d))
    return (mixed + 50).astype(np.float32)


def mean_cosine(vectors: np.ndarray) -> float:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = unit[:500] @ unit[500:1000].T
    return float(pairs.mean())


def test_whitened_vectors_point_everywhere() -> None:
    raw = skewed()
    white = Whitening.fit(raw, 8)(raw)
    assert mean_cosine(raw) > 0.8
    assert abs(mean_cosine(white)) < 0.1
    assert np.cov(white.T) == pytest.approx(np.eye(8), abs=0.02)


def test_directions_without_variance_are_not_blown_up() -> None:
    flat = np.concatenate([skewed(d=3), np.zeros((2000, 5), dtype=np.float32)], axis=1)
    white = Whitening.fit(flat, 8)(flat)
    assert np.abs(white[:, 3:]).max() < 0.1


def test_a_vector_is_whitened_alike_however_many_follow() -> None:
    raw = skewed(2100)
    whitening = Whitening.fit(raw, 8)
    assert (whitening(raw)[:1500] == whitening(raw[:1500])).all()


def test_without_training_vectors_all_is_zero() -> None:
    raw = skewed(9)
    assert not Whitening.fit(raw[:0], 8)(raw).any()
