from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyversity import mmr

from recsys.domain.arrays import F32, I64, NONE
from recsys.rerank.diversity import Mmr, Reranker, ShelfView
from recsys.rerank.dpp import Dpp
from recsys.rerank.ssd import Ssd
from tests.rerank.greedy import picks_of
from tests.rerank.hand import RERANKERS, mixes_of, vectors_of

every_reranker = pytest.mark.parametrize("reranker", RERANKERS, ids=lambda kind: kind.kind)
SEEDS = st.integers(0, 2**32 - 1)


@every_reranker
def test_an_empty_slate_tells_no_sale_from_another(reranker: Reranker[Any]) -> None:
    view = ShelfView(unit=vectors_of(7)[None], num_members=3)
    gains = reranker.gains(reranker.init(view))
    assert gains.shape == (3, 7)
    assert (gains == gains[0, 0]).all()
    np.testing.assert_allclose(gains, 0, atol=2e-4)


@pytest.mark.parametrize("reranker", [Mmr(), Dpp(), Ssd()], ids=lambda kind: kind.kind)
@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, own=st.booleans(), of=st.sampled_from([2, 0, 5]))
def test_a_copy_of_a_chosen_sale_adds_least(
    reranker: Reranker[Any], *, seed: int, own: bool, of: int
) -> None:
    unit = vectors_of(8, seed, dim=16)
    unit[7] = unit[of]
    view = ShelfView(unit=np.stack([unit] * 4) if own else unit[None], num_members=4)
    state = reranker.init(view)
    for column in (2, 0, 5):
        state = reranker.update(state, view, np.full(4, column))
    gains = reranker.gains(state)
    others = gains[:, [1, 3, 4, 6]]
    assert (gains[:, 7] < others.min(axis=1)).all()


def test_a_copy_costs_the_price_of_likeness_1() -> None:
    view = ShelfView(unit=np.stack([vectors_of(1)[0]] * 2)[None], num_members=1)
    state = Mmr().update(Mmr().init(view), view, np.array([1]))
    np.testing.assert_allclose(Mmr().gains(state), -1, atol=1e-6)


@pytest.mark.parametrize(
    "reranker", [*RERANKERS, Ssd(window=1)], ids=lambda kind: str(kind.model_dump())
)
def test_an_ended_slate_keeps_its_gains(reranker: Reranker[Any]) -> None:
    category = np.array([[0, 1, 2, NONE, 1]])
    view = ShelfView(vectors_of(5, dim=16)[None], 2, category, mixes_of(1, 2))
    state = reranker.update(reranker.init(view), view, np.array([1, 3]))
    after = reranker.update(state, view, np.array([NONE, 0]))
    before, gains = reranker.gains(state), reranker.gains(after)
    np.testing.assert_array_equal(gains[0], before[0])
    assert reranker.weight == 0 or not np.array_equal(gains[1], before[1])


def test_one_shelf_for_all_is_the_same_as_a_copy_for_each() -> None:
    unit = vectors_of(9, dim=16)
    shared, own = ShelfView(unit[None], 6), ShelfView(np.stack([unit] * 6), 6)
    chosen = np.array([0, 3, 3, 8, 1, 5])
    np.testing.assert_allclose(shared.likeness(chosen), own.likeness(chosen), atol=1e-6)


@every_reranker
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_gains_on_one_shelf_for_all_are_those_on_a_copy_for_each(
    reranker: Reranker[Any], *, seed: int
) -> None:
    unit, mix = vectors_of(9, seed, dim=16), mixes_of(seed, 4)
    category = np.random.default_rng(seed).integers(-1, 3, (1, 9))
    shared = ShelfView(unit[None], 4, category, mix)
    own = ShelfView(np.stack([unit] * 4), 4, np.repeat(category, 4, axis=0), mix)
    one, each = reranker.init(shared), reranker.init(own)
    for column in ([0, 3, 3, 8], [1, 1, 0, NONE]):
        one = reranker.update(one, shared, np.array(column))
        each = reranker.update(each, own, np.array(column))
        np.testing.assert_allclose(reranker.gains(one), reranker.gains(each), atol=1e-4)


@pytest.mark.parametrize("own", [False, True])
def test_a_view_of_some_members_is_theirs(own: bool) -> None:
    lead = 5 if own else 1
    category = np.random.default_rng(2).integers(-1, 3, (lead, 6))
    view = ShelfView(vectors_of(lead * 6).reshape(lead, 6, -1), 5, category, mixes_of(2, 5))
    rows = np.array([4, 0, 4])
    some = view.take(rows)
    assert some.shape == (3, 6)
    chosen = np.arange(5)
    np.testing.assert_array_equal(
        some.likeness(chosen[rows]), view.likeness(chosen)[rows], strict=True
    )
    assert some.category is not None
    assert some.mix is not None
    spread = np.broadcast_to(category, (5, 6))[rows]
    np.testing.assert_array_equal(np.broadcast_to(some.category, (3, 6)), spread)
    np.testing.assert_array_equal(some.mix, mixes_of(2, 5)[rows])


def by_pyversity(relevance: F32, unit: F32) -> I64:
    return mmr(unit, relevance, k=6, diversity=0.2).indices.astype(np.int64)


def test_mmr_picks_what_pyversity_picks_where_no_cosine_is_negative() -> None:
    for seed in range(100):
        unit = np.abs(vectors_of(40, seed, dim=16))
        relevance, picks = picks_of(Mmr(), unit, seed)
        np.testing.assert_array_equal(picks, by_pyversity(relevance, unit))


def test_pyversity_takes_an_opposite_for_a_stranger_and_mmr_does_not() -> None:
    # its cosines are cut at 0: an opposite of the chosen sale is no better than one at right angles
    unit = np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    relevance = np.array([1, 0.51, 0.5], dtype=np.float32)
    assert by_pyversity(relevance, unit).tolist() == [0, 1, 2]
    assert picks_of(Mmr(), unit, relevance)[1].tolist() == [0, 2, 1]
