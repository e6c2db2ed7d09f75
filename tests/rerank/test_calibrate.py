from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F32, F64, I64, Bool
from recsys.rerank.calibrate import (
    Calibrator,
    Rows,
    clearly_above_zero,
    crowded,
    crowding_of,
    log_odds,
    platt,
    sigmoid,
)
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


def asked(seed: int, *, kept: bool, num: int = 4_000, sales: int = 12) -> tuple[F32, Bool, I64]:
    """Chances of requests before shelves of 1 to `sales`, what came of them, and whose they are.

    With `kept` a request is known by what came of it: those that brought nothing are not told of.
    """
    rng = np.random.default_rng(seed)
    keen = np.exp(rng.normal(-1.2, 1, (num, 1)))
    chance = np.minimum(keen * rng.beta(1, 8, (num, sales)), 0.9)
    on = np.arange(sales) < rng.integers(1, sales + 1, (num, 1))
    happened = on & (rng.random(chance.shape) < chance)
    told = happened.any(axis=1) if kept else np.ones(num, dtype=np.bool_)
    row, column = np.nonzero(on[told])
    return chance[told][row, column].astype(np.float32), happened[told][row, column], row


def total_of(chance: F32, request: I64) -> F64:
    nothing = np.zeros(0, dtype=np.int64)
    return Rows(np.zeros((0, 1), np.float32), np.zeros(0, np.bool_), request, nothing).total(chance)


def test_the_total_is_the_sum_over_each_pairs_own_request() -> None:
    x, y = np.zeros((4, 1), np.float32), np.zeros(4, np.bool_)
    rows = Rows(x, y, request=np.array([0, 0, 2, 2]), sale=np.arange(4))
    np.testing.assert_allclose(
        rows.total(np.array([0.1, 0.2, 0.3, 0.5], np.float32)), [0.3, 0.3, 0.8, 0.8], rtol=1e-6
    )


@pytest.mark.parametrize("seed", range(3))
def test_requests_known_by_their_outcomes_are_crowded_and_others_are_not(seed: int) -> None:
    for kept, low, high in ((True, 0.3, 1.0), (False, 0.0, 0.1)):
        chance, happened, request = asked(seed, kept=kept)
        total, new = total_of(chance, request), np.zeros(len(chance), dtype=np.bool_)
        assert low <= crowding_of(chance, total, outcome=happened, new=new) <= high


@pytest.mark.parametrize("seed", range(3))
def test_crowding_sets_the_best_of_each_request_right(seed: int) -> None:
    """Highest of its request, by calibrated chance: without crowding it is said too low."""
    chance, happened, request = asked(seed, kept=True)
    total, new = total_of(chance, request), np.zeros(len(chance), dtype=np.bool_)
    power = crowding_of(chance, total, outcome=happened, new=new)
    best = (
        chance
        == np.maximum.reduceat(chance, np.flatnonzero(np.diff(request, prepend=-1)))[
            np.unique(request, return_inverse=True)[1]
        ]
    )
    off = []
    for crowding in (0.0, power):
        shared = crowded(chance, total, crowding)
        said = fit_calibrator(shared, happened)(shared)
        off.append(abs(said[best].sum(dtype=np.float64) / happened[best].sum() - 1))
    assert off[0] > 0.1
    assert off[1] < 0.05


def test_where_all_requests_bring_alike_odds_are_divided_by_the_whole_total() -> None:
    rng = np.random.default_rng(4)
    size = rng.integers(2, 40, 4_000)
    request = np.repeat(np.arange(len(size)), size)
    liked = rng.random(len(request)) ** 4
    chance = (0.002 * liked).astype(np.float32)
    first = np.cumsum(size) - size
    upto = np.cumsum(liked)
    # one outcome a request, drawn by liking
    drawn = upto[first] - liked[first] + rng.random(len(size)) * np.bincount(request, liked)
    happened = np.zeros(len(request), dtype=np.bool_)
    happened[np.searchsorted(upto, drawn)] = True
    new = np.zeros(len(request), dtype=np.bool_)
    assert crowding_of(chance, total_of(chance, request), outcome=happened, new=new) > 0.9


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), crowding=st.floats(0, 1), total=st.floats(1e-6, 50))
def test_crowding_never_turns_an_order_round_and_none_changes_no_bit(
    seed: int, crowding: float, total: float
) -> None:
    chance = np.sort(np.random.default_rng(seed).beta(1, 9, 50)).astype(np.float32)
    whole = np.full(50, total)
    after = crowded(chance, whole, crowding)
    assert (np.diff(after) >= 0).all()
    assert ((after >= 0) & (after <= 1)).all()
    np.testing.assert_array_equal(crowded(chance, whole, 0.0), chance)
    more, less = crowded(chance, whole * 2, crowding), crowded(chance, whole / 2, crowding)
    assert (more <= less).all()


@pytest.mark.parametrize("happened", [[], [False] * 30, [True] * 30])
def test_outcomes_that_are_all_alike_tell_of_no_crowding(happened: list[bool]) -> None:
    chance, what = np.full(len(happened), 0.2, dtype=np.float32), np.array(happened, dtype=np.bool_)
    assert crowding_of(chance, np.ones(len(what)), outcome=what, new=what) == 0


def test_requests_of_one_sale_each_tell_of_no_crowding() -> None:
    chance = np.random.default_rng(2).beta(1, 9, 5_000).astype(np.float32)
    new = np.zeros(5_000, dtype=np.bool_)
    found = crowding_of(chance, chance.astype(np.float64), outcome=outcomes(chance), new=new)
    assert found == 0


def test_a_gain_is_as_sure_as_its_sales_are_many() -> None:
    """Forty sales of a thousand rows, whose gains differ by sale: seldom called clear by luck."""
    rng, sale = np.random.default_rng(1), np.repeat(np.arange(40), 1_000)
    by_sale, by_row = 0, 0
    for _ in range(300):
        gain = rng.normal(size=40)[sale] + rng.normal(size=len(sale))
        by_sale += clearly_above_zero(gain, sale)
        by_row += clearly_above_zero(gain, np.arange(len(sale)))
    assert by_sale <= 20
    assert by_row >= 90
    assert clearly_above_zero(rng.normal(0.5, 1, 40)[sale], sale)
    assert not clearly_above_zero(np.zeros(0), np.zeros(0, dtype=np.int64))


def test_a_calibrator_comes_back_from_what_json_keeps_of_it() -> None:
    for one in (
        Calibrator(x=np.array([-2.0, 0.5]), y=np.array([0.1, 0.4])),
        Calibrator(x=np.zeros(0), y=np.zeros(0), slope=0.3, offset=-1.5),
    ):
        back = Calibrator.kept(json.loads(json.dumps(one.plain())))
        np.testing.assert_array_equal(back(CHANCE), one(CHANCE))
