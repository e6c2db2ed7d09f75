from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyversity import ssd

from recsys.rerank.diversity import ShelfView
from recsys.rerank.ssd import Ssd
from tests.rerank.greedy import picks_of
from tests.rerank.hand import vectors_of


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), num=st.integers(1, 7))
def test_a_gain_is_the_length_beside_the_plane_of_the_chosen_less_1(seed: int, num: int) -> None:
    unit = vectors_of(9, seed, dim=16)
    view, state = ShelfView(unit[None], 2), Ssd().init(ShelfView(unit[None], 2))
    for column in range(num):
        state = Ssd().update(state, view, np.full(2, column))
    plane = unit[:num].T.astype(np.float64)
    beside = unit.T - plane @ np.linalg.lstsq(plane, unit.T.astype(np.float64), rcond=None)[0]
    wanted = np.linalg.norm(beside, axis=0) - 1
    for gains in Ssd().gains(state):
        np.testing.assert_allclose(gains[num:], wanted[num:], atol=1e-4)


@pytest.mark.parametrize("window", [1, 2, 3, 8])
def test_ssd_picks_what_pyversity_picks(window: int) -> None:
    for seed in range(50):
        unit = vectors_of(40, seed, dim=16)
        relevance, picks = picks_of(Ssd(window=window), unit, seed)
        theirs = ssd(
            unit,
            relevance,
            k=6,
            diversity=0.2,  # our weight of 0.25 is 0.2 / (1 - 0.2)
            window=window,
            append_bias=False,
            normalize_scores=False,
        )
        np.testing.assert_array_equal(picks, theirs.indices)


def test_what_lies_behind_the_window_is_forgotten() -> None:
    unit = vectors_of(4, 5, dim=16)
    unit[3] = unit[0]
    view = ShelfView(unit[None], 1)
    state = Ssd(window=2).init(view)
    seen = []
    for column in (0, 1, 2):
        state = Ssd(window=2).update(state, view, np.array([column]))
        seen.append(float(Ssd(window=2).gains(state)[0, 3]))
    assert seen[:2] == pytest.approx([-1, -1], abs=1e-3)
    assert seen[2] > -0.5


def test_a_sale_in_the_span_of_the_chosen_adds_no_direction() -> None:
    unit = vectors_of(5, 6, dim=16)
    unit[1] = unit[0]
    view = ShelfView(unit[None], 1)
    once = Ssd().update(Ssd().init(view), view, np.array([0]))
    twice = Ssd().update(once, view, np.array([1]))
    np.testing.assert_allclose(Ssd().gains(twice), Ssd().gains(once), atol=1e-6)
