from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import NONE
from recsys.rerank.diversity import Mmr, Reranker, ShelfView
from tests.rerank.hand import RERANKERS, vectors_of

every_reranker = pytest.mark.parametrize("reranker", RERANKERS, ids=lambda kind: kind.kind)


@every_reranker
def test_an_empty_slate_tells_no_sale_from_another(reranker: Reranker) -> None:
    view = ShelfView(unit=vectors_of(7)[None], num_members=3)
    gains = reranker.gains(reranker.init(view))
    np.testing.assert_array_equal(gains, np.zeros((3, 7), dtype=np.float32))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), own=st.booleans())
def test_a_copy_of_a_chosen_sale_adds_least(seed: int, *, own: bool) -> None:
    unit = vectors_of(8, seed)
    unit[7] = unit[2]
    view = ShelfView(unit=np.stack([unit] * 4) if own else unit[None], num_members=4)
    state = Mmr().update(Mmr().init(view), view, np.full(4, 2))
    gains = Mmr().gains(state)
    assert (gains[:, 7] <= gains.min(axis=1) + 1e-6).all()
    np.testing.assert_allclose(gains[:, 7], -1, atol=1e-6)


@every_reranker
def test_an_ended_slate_keeps_its_state(reranker: Reranker) -> None:
    view = ShelfView(unit=vectors_of(5)[None], num_members=2)
    state = reranker.update(reranker.init(view), view, np.array([1, 3]))
    after = reranker.update(state, view, np.array([NONE, 0]))
    np.testing.assert_array_equal(after[0], state[0])


def test_one_shelf_for_all_is_the_same_as_a_copy_for_each() -> None:
    unit = vectors_of(9, dim=16)
    shared, own = ShelfView(unit[None], 6), ShelfView(np.stack([unit] * 6), 6)
    chosen = np.array([0, 3, 3, 8, 1, 5])
    np.testing.assert_allclose(shared.likeness(chosen), own.likeness(chosen), atol=1e-6)
