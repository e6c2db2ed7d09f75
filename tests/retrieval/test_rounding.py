from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F32
from recsys.retrieval import rounding
from recsys.retrieval.rounding import PLACES, loss


def shifted(vectors: F32) -> F32:
    """Move each number a little, as rounding does, but to no place where scores tie."""
    moved: F32 = (vectors + 0.1 * np.sin(1000 * vectors)).astype(np.float32)
    return moved


def same(vectors: F32) -> F32:
    return vectors


def brute(members: F32, sales: F32, k: int) -> float:
    """Count the places that go to a sale whose exact score is below the last of the best."""
    lost = places = 0
    for member in members:
        exact = [float(score) for score in member @ sales.T]
        found = [float(score) for score in shifted(member) @ shifted(sales).T]
        last = sorted(exact, reverse=True)[:k][-1]
        chosen = sorted(range(len(sales)), key=lambda sale: -found[sale])[:k]
        lost += sum(exact[sale] < last for sale in chosen)
        places += len(chosen)
    return lost / places


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sales=st.integers(1, 300), tile=st.integers(1, 4000))
def test_what_is_lost_is_what_a_count_by_hand_finds(seed: int, sales: int, tile: int) -> None:
    rng = np.random.default_rng(seed)
    asking, asked = (rng.normal(size=(rows, 6)).astype(np.float32) for rows in (9, sales))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounding, "TILE", tile)
        found = loss(asking, asked, of_members=shifted, of_sales=shifted)
    exact, rounded = asking @ asked.T, shifted(asking) @ shifted(asked).T
    assert found.score_error == pytest.approx(np.abs(exact - rounded).max(), abs=1e-5)
    for k in PLACES:
        assert found.recall[k] == pytest.approx(brute(asking, asked, k), abs=1e-9)
    assert found.worst == max(found.recall.values())


def test_a_planted_case_loses_what_was_planted() -> None:
    member = np.ones((1, 1), dtype=np.float32)
    sales = np.linspace(1, 0, 100, dtype=np.float32)[:, None]

    def promoted(vectors: F32) -> F32:
        """Put three of the worst sales above all others."""
        wrong = vectors.copy()
        wrong[97:] = 2.0
        return wrong

    found = loss(member, sales, of_members=same, of_sales=promoted)
    assert found.recall == {10: pytest.approx(3 / 10), 50: pytest.approx(3 / 50)}
    assert (found.members, found.score_error) == (1, 2.0)


def test_nothing_is_lost_where_nothing_is_rounded_and_ties_are_no_loss() -> None:
    rng = np.random.default_rng(1)
    members = rng.normal(size=(5, 3)).astype(np.float32)
    sales = np.repeat(rng.normal(size=(30, 3)).astype(np.float32), 4, axis=0)
    found = loss(members, sales, of_members=same, of_sales=same)
    assert (found.worst, found.score_error, found.members) == (0.0, 0.0, 5)


def test_scores_held_at_once_do_not_grow_with_the_sales(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "TILE", 600)
    blocks: list[int] = []

    def counted(vectors: F32) -> F32:
        blocks.append(len(vectors))
        return vectors

    members, sales = np.ones((20, 2), dtype=np.float32), np.ones((500, 2), dtype=np.float32)
    loss(members, sales, of_members=same, of_sales=counted)
    assert sum(blocks) == len(sales)
    assert max(blocks) * len(members) <= 600
