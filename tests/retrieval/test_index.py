from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import get_args

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F32, NONE, Bool
from recsys.domain.errors import BrokenArtefactError
from recsys.retrieval import index as module
from recsys.retrieval import kinds
from recsys.retrieval.exact import scores_of, top_k
from recsys.retrieval.index import build, read, write
from recsys.retrieval.measure import recall
from recsys.retrieval.spec import Exact, Hnsw, Ivf, Pq, Retrieval

KINDS: list[Retrieval] = [kind() for kind in get_args(get_args(Retrieval)[0])]
SMALL: list[Retrieval] = [*KINDS, Ivf(probes=1), Hnsw(links=4, width=1), Pq(rescored=1, cells=0)]
"""Of every kind one with its defaults, and one that looks as little as it can."""


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


def allowed_few(rng: np.random.Generator, num: int, share: float) -> Bool:
    """Some rows, now and then a run of neighbours, now and then none."""
    if rng.random() < 0.3:
        mask = np.zeros(num, dtype=np.bool_)
        mask[: int(share * num)] = True
        return mask
    return rng.random(num) < share


@pytest.mark.parametrize("spec", SMALL, ids=str)
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 500),
    k=st.integers(1, 40),
    share=st.sampled_from([0.0, 0.02, 0.2, 0.7, 1.0]),
    few=st.booleans(),
)
def test_k_are_found_wherever_k_are_allowed_and_nothing_else(
    *, spec: Retrieval, seed: int, n: int, k: int, share: float, few: bool
) -> None:
    rng = np.random.default_rng(seed)
    vectors, queries = vectors_of(n, seed, dim=7), vectors_of(6, seed + 1, dim=7)
    allowed = allowed_few(rng, n, share)
    with pytest.MonkeyPatch.context() as patch:
        if not few:
            patch.setattr(module, "FEW", 0)
        found = build(spec, vectors).search(queries, k, allowed=allowed)
    count = min(k, int(allowed.sum()))
    assert found.sales.shape == found.scores.shape == (6, k)
    assert (found.sales[:, :count] != NONE).all()
    assert (found.sales[:, count:] == NONE).all()
    assert allowed[found.sales[:, :count]].all()
    for sales, scores, query in zip(found.sales, found.scores, queries, strict=True):
        assert len(set(sales[:count].tolist())) == count
        assert (np.diff(scores[:count]) <= 0).all()
        np.testing.assert_array_equal(
            scores[:count], scores_of(query[None], vectors[sales[:count]])[0]
        )


def test_a_filter_makes_an_approximate_search_look_wider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEW", 0)
    seen: list[int] = []
    real = kinds.parameters

    def noted(spec: Retrieval, wider: int, allowed: Bool | None) -> object:
        seen.append(wider)
        return real(spec, wider, allowed)

    monkeypatch.setattr(kinds, "parameters", noted)
    vectors, queries = vectors_of(4000, 1), vectors_of(25, 2)
    index = build(Ivf(), vectors)
    index.search(queries, 10)
    assert seen == [1]
    for step in (5, 1000):
        allowed = np.zeros(4000, dtype=np.bool_)
        allowed[::step] = True
        found = index.search(queries, 3, allowed=allowed)
        assert np.array_equal(found.sales, top_k(queries, vectors, 3, allowed=allowed).sales)
    assert seen == [1, 5, module.WIDEST]


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)
def test_an_index_read_back_answers_as_before_and_copies_no_vector(
    spec: Retrieval, tmp_path: Path
) -> None:
    vectors, queries = vectors_of(2000, 3), vectors_of(8, 4)
    before = build(spec, vectors)
    write(before, tmp_path / "index.faiss")
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.asarray(np.load(tmp_path / "vectors.npy", mmap_mode="r"))
    after = read(tmp_path / "index.faiss", spec, mapped)
    assert after.vectors is mapped
    for some in (queries, queries[:1]):
        first, again = before.search(some, 12), after.search(some, 12)
        assert np.array_equal(first.sales, again.sales)
        assert np.array_equal(first.scores, again.scores)


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)
def test_an_index_lives_as_long_as_it_is_held(spec: Retrieval, tmp_path: Path) -> None:
    queries = vectors_of(8, 4)
    write(build(spec, vectors_of(2000, 3)), tmp_path / "index.faiss")
    right = build(spec, vectors_of(2000, 3)).search(queries, 5).sales
    held = read(tmp_path / "index.faiss", spec, vectors_of(2000, 3)).faiss_index
    gc.collect()
    _ = [vectors_of(2000, seed) for seed in range(9)]  # writes over what was let go
    again = replace(build(spec, vectors_of(2000, 3)), faiss_index=held)
    assert np.array_equal(again.search(queries, 5).sales, right)


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)
def test_only_cells_write_vectors_a_second_time(spec: Retrieval, tmp_path: Path) -> None:
    vectors = vectors_of(2000, 3, dim=128)
    write(build(spec, vectors), tmp_path / "index.faiss")
    share = (tmp_path / "index.faiss").stat().st_size / vectors.nbytes
    assert share > 1 if spec.kind == "ivf" else share < 0.6


def test_a_whole_flat_index_as_bundles_had_it_is_read(tmp_path: Path) -> None:
    vectors, queries = vectors_of(300, 3), vectors_of(8, 4)
    flat = faiss.IndexFlatIP(24)
    flat.add(vectors)
    faiss.write_index(flat, str(tmp_path / "index.faiss"))
    found = read(tmp_path / "index.faiss", Exact(), vectors).search(queries, 9)
    assert np.array_equal(found.sales, top_k(queries, vectors, 9).sales)
    with pytest.raises(BrokenArtefactError, match="another order or model"):
        read(tmp_path / "index.faiss", Exact(), vectors[::-1].copy())


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)
def test_an_index_of_other_vectors_is_refused(spec: Retrieval, tmp_path: Path) -> None:
    vectors = vectors_of(700, 3)
    write(build(spec, vectors), tmp_path / "index.faiss")
    with pytest.raises(BrokenArtefactError, match="widths 24 and 22"):
        read(tmp_path / "index.faiss", spec, vectors[:, :-2].copy())
    with pytest.raises(BrokenArtefactError, match=r"and 699 vectors|another order"):
        read(tmp_path / "index.faiss", spec, vectors[:-1])
    if spec.kind in {"exact", "ivf"}:
        with pytest.raises(BrokenArtefactError, match="another order or model"):
            read(tmp_path / "index.faiss", spec, np.roll(vectors, 1, axis=0))
    if spec.kind == "pq":
        other = read(tmp_path / "index.faiss", spec, np.roll(vectors, 300, axis=0))
        assert recall(other, vectors_of(50, 4)) < 0.6 < recall(build(spec, vectors), vectors[:50])


def test_a_file_that_is_no_index_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "index.faiss").write_bytes(b"not an index at all")
    with pytest.raises(BrokenArtefactError, match=r"index\.faiss"):
        read(tmp_path / "index.faiss", Exact(), vectors_of(5))


def test_an_index_of_another_kind_is_refused(tmp_path: Path) -> None:
    write(build(Exact(), vectors_of(500)), tmp_path / "index.faiss")
    for spec in KINDS[1:]:
        with pytest.raises(BrokenArtefactError, match=f"not of kind {spec.kind}"):
            read(tmp_path / "index.faiss", spec, vectors_of(500))


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


@pytest.mark.parametrize("num", [1, module.BATCH])
def test_a_search_that_fails_puts_the_blas_threshold_back(num: int) -> None:
    class Failing:
        d = 24

        def search(self, *_: object, **__: object) -> None:
            seen.append(faiss.cvar.distance_compute_blas_threshold)
            raise RuntimeError("no search")

    seen: list[int] = []
    before = faiss.cvar.distance_compute_blas_threshold
    index = replace(build(Exact(), vectors_of(500)), faiss_index=Failing())
    with pytest.raises(RuntimeError, match="no search"):
        index.search(vectors_of(num), 3)
    assert seen == [before if num == 1 else 1]
    assert faiss.cvar.distance_compute_blas_threshold == before


@pytest.mark.parametrize("copies", [False, True])
def test_both_blas_paths_find_the_same_sales_with_the_same_scores(*, copies: bool) -> None:
    vectors = vectors_of(3000, 9)
    if copies:
        vectors[::3] = vectors[1::3]
    index, queries = build(Exact(), vectors), vectors_of(32, 10)
    batch = index.search(queries, 10)
    for row, query in enumerate(queries):
        single = index.search(query[None], 10)
        assert np.array_equal(single.sales[0], batch.sales[row])
        assert np.array_equal(single.scores[0], batch.scores[row])


def test_batches_are_cut_to_what_may_be_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = vectors_of(3000, 9), vectors_of(33, 10)
    index = build(Pq(), vectors)
    whole = index.search(queries, 10)
    monkeypatch.setattr(module, "GATHERED", 256 * 24 * 5)
    cut = index.search(queries, 10)
    assert np.array_equal(whole.sales, cut.sales)
    assert np.array_equal(whole.scores, cut.scores)


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_neither_indexed_nor_asked(spec: Retrieval, value: float) -> None:
    vectors, query = vectors_of(60), vectors_of(1)
    index = build(spec, vectors)
    query[0, 3] = vectors[3, 0] = value
    with pytest.raises(ValueError, match="finite"):
        build(spec, vectors)
    with pytest.raises(ValueError, match="finite"):
        index.search(query, 3)
