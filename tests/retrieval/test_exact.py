from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F32, NONE, Bool
from recsys.domain.ties import keyed
from recsys.retrieval.exact import scores_of, top_k


def brute(queries: F32, vectors: F32, k: int, allowed: Bool) -> list[list[int]]:
    scores = scores_of(queries, vectors)
    hashes = keyed(0, np.arange(len(vectors)))
    ranked = [
        sorted(np.flatnonzero(allowed).tolist(), key=lambda n: (-row[n], int(hashes[n])))
        for row in scores
    ]
    return [(row + [NONE] * k)[:k] for row in ranked]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 80),
    k=st.integers(1, 12),
    levels=st.integers(1, 4),
)
def test_the_best_are_those_of_a_full_sort_with_ties_by_hash(
    seed: int, n: int, k: int, levels: int
) -> None:
    rng = np.random.default_rng(seed)
    # few distinct values make many ties
    vectors = rng.integers(0, levels, size=(n, 3)).astype(np.float32)
    queries = rng.integers(0, levels, size=(5, 3)).astype(np.float32)
    allowed = rng.random(n) < 0.7
    found = top_k(queries, vectors, k, allowed=allowed)
    assert found.sales.tolist() == brute(queries, vectors, k, allowed)
    assert np.isneginf(found.scores[found.sales == NONE]).all()


def test_one_query_and_a_batch_agree_in_every_bit() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(900, 65)).astype(np.float32)
    queries = rng.normal(size=(40, 65)).astype(np.float32)
    batch = top_k(queries, vectors, 20)
    for i in (0, 17, 39):
        single = top_k(queries[i : i + 1], vectors, 20)
        assert np.array_equal(single.scores[0], batch.scores[i])
        assert np.array_equal(single.sales[0], batch.sales[i])


def test_another_seed_orders_ties_differently_but_not_scores() -> None:
    vectors = np.ones((50, 4), dtype=np.float32)
    query = np.ones((1, 4), dtype=np.float32)
    first, second = top_k(query, vectors, 10, seed=1), top_k(query, vectors, 10, seed=2)
    assert first.sales.tolist() != second.sales.tolist()
    assert np.array_equal(first.scores, second.scores)


def test_no_queries_give_no_rows() -> None:
    found = top_k(np.zeros((0, 3), dtype=np.float32), np.ones((4, 3), dtype=np.float32), 2)
    assert found.sales.shape == (0, 2)


@pytest.mark.parametrize(
    ("query", "k", "match"),
    [([[1.0, np.nan]], 1, "finite"), ([[1.0]], 1, "2 numbers"), ([[1.0, 2.0]], 0, "k is 0")],
)
def test_queries_that_cannot_be_ranked_are_refused(
    query: list[list[float]], k: int, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        top_k(np.array(query, dtype=np.float32), np.ones((4, 2), dtype=np.float32), k)
