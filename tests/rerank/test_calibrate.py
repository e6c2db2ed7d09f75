from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F32, Bool
from recsys.rerank.calibrate import Calibrator, log_odds, platt, sigmoid
from recsys.rerank.value import fit_calibrator

CHANCE: F32 = np.linspace(0.01, 0.6, 60, dtype=np.float32)


def outcomes(chance: F32, seed: int = 0) -> Bool:
    return np.random.default_rng(seed).random(chance.shape) < chance


def told(raw: F32) -> F32:
    """A known curve: what is said is too high for small chances and too low for large ones."""
    return sigmoid(0.5 * log_odds(raw) - 1.0)


def test_platts_line_finds_a_known_line() -> None:
    raw = np.tile(CHANCE, 3000)
    line = platt(raw, outcomes(told(raw)))
    assert line.slope == pytest.approx(0.5, abs=0.03)
    assert line.offset == pytest.approx(-1.0, abs=0.05)


def test_isotonic_steps_find_a_known_curve() -> None:
    raw = np.tile(CHANCE, 3000)
    truth = (raw**2 * 1.5).astype(np.float32)
    steps = fit_calibrator(raw, outcomes(truth))
    assert len(steps.x)
    np.testing.assert_allclose(steps(CHANCE), CHANCE**2 * 1.5, atol=0.05)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shift=st.floats(-6, 6),
    slope=st.floats(0.2, 4),
    enough=st.booleans(),
)
def test_chances_add_up_to_outcomes_on_their_own_slice(
    seed: int, *, shift: float, slope: float, enough: bool
) -> None:
    raw = np.random.default_rng(seed).beta(1, 8, 20_000 if enough else 1500).astype(np.float32)
    happened = outcomes(sigmoid(0.8 * log_odds(raw) + 0.3), seed)
    # whatever line was drawn over the chances before
    fitted = fit_calibrator(sigmoid(slope * log_odds(raw) + shift), happened)
    assert bool(len(fitted.x)) == (happened.sum() >= 1000)
    said = fitted(sigmoid(slope * log_odds(raw) + shift)).sum(dtype=np.float64)
    assert 0.95 <= said / happened.sum() <= 1.05


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), num=st.integers(1, 40))
def test_calibration_never_turns_an_order_round(seed: int, num: int) -> None:
    rng = np.random.default_rng(seed)
    raw = rng.random(num).astype(np.float32)
    for fitted in (
        platt(raw, rng.random(num) < 0.3),
        fit_calibrator(np.tile(raw, 3000), outcomes(np.tile(raw, 3000), seed)),
    ):
        after = fitted(np.sort(raw))
        assert (np.diff(after) >= 0).all()
        assert ((after >= 0) & (after <= 1)).all()


def test_chances_that_rank_backwards_become_the_mean() -> None:
    raw = np.tile(CHANCE, 100)
    after = platt(raw, outcomes((0.7 - raw).astype(np.float32)))(raw)
    assert np.ptp(after) == 0
    assert after[0] == pytest.approx((0.7 - raw).mean(), abs=0.03)


@pytest.mark.parametrize("rate", [1e-4, 0.02, 0.9])
def test_platts_line_finds_its_way_from_far_away(rate: float) -> None:
    raw = np.random.default_rng(1).beta(2, 2000, 20_000).astype(np.float32)
    happened = np.random.default_rng(2).random(20_000) < rate
    after = platt(raw, happened)(raw)
    assert after.mean(dtype=np.float64) == pytest.approx(happened.mean(), rel=0.05, abs=1e-4)


@pytest.mark.parametrize("happened", [[], [False] * 30, [True] * 30])
def test_outcomes_that_are_all_alike_give_finite_chances(happened: list[bool]) -> None:
    raw = np.full(len(happened), 0.2, dtype=np.float32)
    after = platt(raw, np.array(happened, dtype=np.bool_))(CHANCE)
    assert ((after > 0) & (after < 1)).all()


def test_small_chances_are_told_apart() -> None:
    chance = sigmoid(np.array([-18.0, -18.01, -60.0], dtype=np.float32))
    assert chance[0] > chance[1] > chance[2] > 0
    np.testing.assert_allclose(log_odds(chance[:2]), [-18, -18.01], rtol=1e-5)
    assert sigmoid(np.array([1000.0, -1000.0])).tolist() == [1, 0]


def test_a_calibrator_of_no_steps_is_a_line_in_log_odds() -> None:
    nothing = np.zeros(0)
    np.testing.assert_allclose(Calibrator(nothing, nothing)(CHANCE), CHANCE, rtol=1e-5)
