from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyversity import dpp

from recsys.domain.arrays import NONE
from recsys.domain.errors import SettingError
from recsys.rerank.diversity import ShelfView
from recsys.rerank.dpp import RIDGE, Dpp
from recsys.rerank.policy import SlatePolicy
from recsys.rerank.utility import Parts
from tests.rerank.greedy import picks_of
from tests.rerank.hand import no_draws, offer_of, vectors_of


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), own=st.booleans())
def test_what_the_sales_of_a_slate_add_is_its_log_determinant(seed: int, *, own: bool) -> None:
    unit = np.stack([vectors_of(9, seed + k, dim=16) for k in range(3 if own else 1)])
    view = ShelfView(unit, 3)
    slates = np.random.default_rng(seed).permuted(np.tile(np.arange(9), (3, 1)), axis=1)[:, :6]
    state, total = Dpp().init(view), np.zeros(3)
    for column in slates.T:
        total += Dpp().gains(state)[np.arange(3), column]
        state = Dpp().update(state, view, column)
    for member, slate in enumerate(slates):
        vectors = unit[min(member, len(unit) - 1)][slate].astype(np.float64)
        kernel = vectors @ vectors.T + RIDGE * np.eye(6)
        assert total[member] == pytest.approx(np.linalg.slogdet(kernel)[1], abs=1e-3)


def test_dpp_picks_what_pyversity_picks() -> None:
    for seed in range(100):
        unit = vectors_of(40, seed, dim=16)
        relevance, picks = picks_of(Dpp(), unit, seed)
        # our weight of 0.5 is 1 / (2 beta) at a beta of (1 - diversity) * scale = 1
        theirs = dpp(unit, relevance, k=6, diversity=0.5, scale=2.0).indices
        np.testing.assert_array_equal(picks, theirs)


def test_more_slots_than_dimensions_are_refused() -> None:
    offer = offer_of(1, n=4, c=20)
    SlatePolicy(8, Dpp()).act(offer, no_draws(4, 8))
    with pytest.raises(SettingError, match=r"dpp fills at most 8 slots.*\n.*fewer slots"):
        SlatePolicy(9, Dpp()).act(offer, no_draws(4, 9))


def test_more_slots_than_sales_end_the_slate_and_need_no_dimension() -> None:
    offer = offer_of(1, n=4, c=5)
    long = SlatePolicy(20, Dpp()).act(offer, no_draws(4, 20)).columns
    np.testing.assert_array_equal(
        long[:, :5], SlatePolicy(5, Dpp()).act(offer, no_draws(4, 5)).columns
    )
    assert (long[:, 5:] == NONE).all()


def test_a_shelf_of_copies_still_fills_the_slate() -> None:
    offer = offer_of(2, n=5, c=12)
    copies = ShelfView(np.repeat(vectors_of(1, dim=8), 12, axis=0)[None], 5)
    offer = replace(offer, view=copies, eligible=np.ones((5, 12), dtype=np.bool_))
    picks = SlatePolicy(6, Dpp()).act(offer, no_draws(5, 6))
    assert all(len(set(slate)) == 6 for slate in picks.columns.tolist())
    assert np.isfinite(picks.diversity).all()
    assert (picks.diversity[:, 1:] < np.float32(0.3 * 0.5) * np.log(3 * RIDGE)).all()


@pytest.mark.parametrize("length", [0.9999, 1.0001])
def test_vectors_may_be_as_long_as_rounding_makes_them(length: float) -> None:
    unit = np.repeat(vectors_of(3, dim=16), 4, axis=0) * np.float32(length)
    view = ShelfView(unit[None], 1)
    state = Dpp().init(view)
    for column in range(12):
        state = Dpp().update(state, view, np.array([column]))
        assert np.isfinite(Dpp().gains(state)).all()
    assert (Dpp().gains(state) < np.log(1e-3)).all()


def test_no_price_is_too_large() -> None:
    offer = offer_of(3, n=4, c=10)
    amounts = offer.parts.amounts * np.float32(1e30)
    picks = SlatePolicy(4, Dpp()).act(replace(offer, parts=Parts(amounts)), no_draws(4, 4))
    assert np.isfinite(picks.diversity).all()
