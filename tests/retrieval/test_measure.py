from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from recsys.domain.arrays import F32, I64
from recsys.domain.candidates import Candidates
from recsys.domain.errors import GateError
from recsys.retrieval import measure
from recsys.retrieval.exact import top_k
from recsys.retrieval.index import Index, build, write
from recsys.retrieval.measure import measured, promised, recall, refuse_below, weight
from recsys.retrieval.spec import Approximate, Exact, Hnsw, Ivf, Pq
from tests.retrieval.test_index import KINDS, vectors_of

POOR = Ivf(probes=1)
"""Looks into one cell of many: on vectors without clusters it misses most of the best."""


def by_hand(spec: Approximate, vectors: F32, queries: F32, k: int) -> float:
    found, right = build(spec, vectors).search(queries, k).sales, top_k(queries, vectors, k).sales
    pairs = zip(found.tolist(), right.tolist(), strict=True)
    return sum(len(set(some) & set(best)) for some, best in pairs) / right.size


@pytest.mark.parametrize("k", [1, 10, 33])
@pytest.mark.parametrize("spec", [POOR, Hnsw(links=4, width=1), Pq(rescored=1, numbers=4)], ids=str)
def test_recall_is_what_a_count_by_hand_finds(spec: Approximate, k: int) -> None:
    vectors, queries = vectors_of(1500, 5), vectors_of(50, 6)
    found = recall(build(spec, vectors), queries, k=k)
    assert found == pytest.approx(by_hand(spec, vectors, queries, k))
    assert 0.02 < found < 0.98


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)
def test_measures_are_of_the_index_that_is_published(spec: Approximate, tmp_path: Path) -> None:
    vectors, queries = vectors_of(2000, 5), vectors_of(50, 6)
    index = build(spec, vectors)
    found = measured(index, queries, k=5)
    write(index, tmp_path / "index.faiss")
    assert found.bytes == weight(index) == (tmp_path / "index.faiss").stat().st_size
    assert found.recall == recall(index, queries, k=5)
    assert (found.recall_at, found.queries) == (5, 50)
    assert 0 < found.single_ms < found.batch_ms


def test_a_query_is_timed_alone_and_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = measure._found  # what is timed is seen nowhere else

    def noted(index: Index, asked: F32 | I64, k: int) -> Candidates:
        sizes.append(len(asked))
        return real(index, asked, k)

    monkeypatch.setattr(measure, "_found", noted)
    measured(build(Ivf(), vectors_of(300)), vectors_of(7, 6))
    assert sizes[:2] == [7, 7]
    assert sizes[2:] == [1] * measure.SINGLES + [measure.BATCH] * measure.BATCHES


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (Ivf(probes=3), ["retrieval.probes above 3", "retrieval.recall"]),
        (Hnsw(width=7), ["retrieval.width above 7"]),
        (Pq(rescored=9), ["retrieval.rescored above 9, or"]),
        (Pq(rescored=9, cells=0), ["rescored above 9 or retrieval.probes above 16"]),
    ],
    ids=str,
)
def test_an_index_below_its_target_is_refused_with_what_to_raise(
    spec: Approximate, said: list[str]
) -> None:
    index = build(spec, vectors_of(300))
    found = replace(measured(index, vectors_of(20, 6)), recall=0.9494)
    with pytest.raises(GateError, match=f"the {spec.kind} index finds 0.949 of") as refused:
        refuse_below(found, spec)
    assert refused.value.code == 5
    for words in said:
        assert words in str(refused.value)
    refuse_below(replace(found, recall=0.95), spec)
    with pytest.raises(GateError, match=r"alike\.recall asks for 0\.95"):
        refuse_below(found, spec, setting="alike")


def test_the_remedy_that_is_named_helps() -> None:
    vectors, queries = vectors_of(1500, 5), vectors_of(50, 6)
    poor: list[Approximate] = [POOR, Hnsw(links=4, width=1), Pq(rescored=1)]
    better: list[Approximate] = [Ivf(probes=200), Hnsw(links=4, width=999), Pq(rescored=999)]
    for low, high in zip(poor, better, strict=True):
        with pytest.raises(GateError):
            promised(build(low, vectors), queries)
        assert promised(build(high, vectors), queries)["recall"] == pytest.approx(1.0, abs=0.05)


def test_what_a_manifest_says_is_plain_and_but_for_milliseconds_the_same_each_time() -> None:
    vectors, queries = vectors_of(900, 5), vectors_of(50, 6)
    index = build(Hnsw(recall=0.9, recall_at=7), vectors)
    first, again = (dict(promised(index, queries)) for _ in range(2))
    timed = first.pop("timed")
    again.pop("timed")
    assert first == again
    assert first["index"] == {"recall_at": 7, "queries": 50, "bytes": weight(index)}
    assert isinstance(timed, dict)
    assert sorted(timed) == ["batch", "batch_ms", "single_ms"]
    assert promised(build(Exact(), vectors), queries) == {"recall": 1.0}


def test_nothing_asked_is_no_recall() -> None:
    with pytest.raises(ValueError, match="a query at least"):
        recall(build(Exact(), vectors_of(9)), vectors_of(0))


def test_every_kind_that_is_not_exact_promises_recall() -> None:
    for kind in get_args(Approximate):
        assert (kind().recall, kind().recall_at) == (0.95, 10)
