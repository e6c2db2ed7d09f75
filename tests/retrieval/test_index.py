from __future__ import annotations

from pathlib import Path
from typing import get_args

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F32, NONE
from recsys.domain.errors import BrokenArtefactError
from recsys.retrieval import index as module
from recsys.retrieval.exact import top_k
from recsys.retrieval.index import build, measured_recall, read, write
from recsys.retrieval.spec import Exact, Retrieval

KINDS = [kind() for kind in get_args(get_args(Retrieval)[0])]


def vectors_of(num: int, seed: int = 0, dim: int = 24) -> F32:
    vectors = np.random.default_rng(seed).normal(size=(num, dim)).astype(np.float32)
    lengths: F32 = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 300),
    m=st.integers(0, 9),
    k=st.integers(1, 30),
    few=st.booleans(),
    copies=st.booleans(),
    share=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)
def test_an_exact_index_equals_brute_force_with_filters_and_ties(
    *, seed: int, n: int, m: int, k: int, few: bool, copies: bool, share: float
) -> None:
    rng = np.random.default_rng(seed)
    vectors = vectors_of(n, seed)
    if copies:
        vectors = vectors[rng.integers(0, max(1, n // 10), size=n)]
    queries = vectors_of(m, seed + 1)
    allowed = rng.random(n) < share if share < 1 else None
    with pytest.MonkeyPatch.context() as patch:
        if not few:
            patch.setattr(module, "FEW", 0)
        found = build(Exact(), vectors).search(queries, k, allowed=allowed)
    right = top_k(queries, vectors, k, allowed=allowed)
    assert np.array_equal(found.sales, right.sales)
    assert np.array_equal(found.scores, right.scores)


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)
def test_k_are_found_wherever_k_are_allowed(
    spec: Retrieval, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FEW", 0)
    vectors = vectors_of(4000, 1)
    allowed = np.zeros(4000, dtype=np.bool_)
    allowed[::100] = True
    found = build(spec, vectors).search(vectors_of(25, 2), 10, allowed=allowed)
    assert (found.sales != NONE).all()
    assert allowed[found.sales].all()
    assert (np.diff(np.sort(found.sales, axis=1), axis=1) > 0).all()
    assert (np.diff(found.scores, axis=1) <= 0).all()


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)
def test_an_index_read_back_answers_as_before(spec: Retrieval, tmp_path: Path) -> None:
    vectors, queries = vectors_of(2000, 3), vectors_of(8, 4)
    before = build(spec, vectors)
    write(before, tmp_path / "index.faiss")
    after = read(tmp_path / "index.faiss", spec)
    assert np.array_equal(after.vectors, vectors)
    assert np.array_equal(before.search(queries, 12).sales, after.search(queries, 12).sales)


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)
def test_recall_is_measured_against_the_exact_answer(spec: Retrieval) -> None:
    vectors = vectors_of(2000, 5)
    recall = measured_recall(build(spec, vectors), vectors, vectors_of(50, 6))
    assert (1.0 if spec.kind == "exact" else 0.5) <= recall <= 1.0


def test_recall_of_an_index_over_other_vectors_is_low() -> None:
    vectors = vectors_of(1000, 7)
    assert measured_recall(build(Exact(), vectors[::-1]), vectors, vectors_of(20, 8)) < 0.1


def test_a_file_that_is_no_index_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "index.faiss").write_bytes(b"not an index at all")
    with pytest.raises(BrokenArtefactError, match=r"index\.faiss"):
        read(tmp_path / "index.faiss", Exact())


def test_an_index_of_another_kind_is_refused(tmp_path: Path) -> None:
    write(build(Exact(), vectors_of(500)), tmp_path / "index.faiss")
    with pytest.raises(BrokenArtefactError, match="not of kind hnsw"):
        read(tmp_path / "index.faiss", KINDS[2])


def test_a_search_puts_the_blas_threshold_back_and_uses_it_for_batches_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = faiss.cvar.distance_compute_blas_threshold
    seen: list[int] = []
    with module.one_path(1, 1):
        seen.append(faiss.cvar.distance_compute_blas_threshold)
    with module.one_path(module.BATCH, 1):
        seen.append(faiss.cvar.distance_compute_blas_threshold)
        assert faiss.omp_get_max_threads() == 1
    assert seen == [before, 1]
    assert faiss.cvar.distance_compute_blas_threshold == before


def test_both_blas_paths_find_the_same_sales(monkeypatch: pytest.MonkeyPatch) -> None:
    index = build(Exact(), vectors_of(3000, 9))
    queries = vectors_of(32, 10)
    batch = index.search(queries, 10).sales
    singles = np.concatenate([index.search(query[None], 10).sales for query in queries])
    assert np.array_equal(batch, singles)


def test_vectors_that_are_not_finite_are_never_indexed() -> None:
    vectors = vectors_of(10)
    vectors[3, 0] = np.inf
    with pytest.raises(ValueError, match="finite"):
        build(Exact(), vectors)
