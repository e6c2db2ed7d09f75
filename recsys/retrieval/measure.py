"""What an index finds, takes and weighs, and whether it keeps its promise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import assert_never

import numpy as np

from recsys.domain.arrays import F32, I64, NONE
from recsys.domain.candidates import Candidates
from recsys.domain.errors import GateError
from recsys.domain.manifest import JSON
from recsys.retrieval import kinds
from recsys.retrieval.alike import alike
from recsys.retrieval.index import Index
from recsys.retrieval.spec import Approximate, Exact, Hnsw, Ivf, Pq

SINGLES, BATCHES, BATCH = 100, 5, 256
"""Queries timed alone, batches timed, queries in a batch."""


@dataclass(frozen=True)
class Measured:
    """An index beside exact search over the same vectors."""

    recall: float
    """Share of the exact k best that it finds."""
    recall_at: int
    queries: int
    bytes: int
    """Of its file; the vectors beside it are not counted."""
    single_ms: float
    """Median of one query."""
    batch_ms: float
    """Median of a batch of `BATCH`."""


def measured(index: Index, asked: F32 | I64, *, k: int = 10) -> Measured:
    """Measure an index by queries it was not built on.

    `asked` is F32[m, D], vectors that are not in it, or I64[m], rows of it: each is asked with its
    own row left out of both answers, as `alike` leaves it out.

    Raises:
        ValueError: nothing is asked.
    """
    many = np.resize(asked, (BATCH, *asked.shape[1:]))
    return Measured(
        recall=recall(index, asked, k=k),
        recall_at=k,
        queries=len(asked),
        bytes=weight(index),
        single_ms=_ms(lambda one: _found(index, many[one : one + 1], k), SINGLES),
        batch_ms=_ms(lambda _: _found(index, many, k), BATCHES),
    )


def recall(index: Index, asked: F32 | I64, *, k: int = 10) -> float:
    """Return the share of the exact k best that an index finds; `asked` as in `measured`.

    Raises:
        ValueError: nothing is asked.
    """
    if not len(asked):
        raise ValueError("recall needs a query at least")
    found = _found(index, asked, k).sales
    exact = replace(index, spec=Exact(), faiss_index=kinds.looking_at(index.vectors))
    right = _found(exact, asked, k).sales
    hits = (found[:, :, None] == right[:, None, :]) & (right[:, None, :] != NONE)
    return float(hits.sum() / max(1, (right != NONE).sum()))


def promised(index: Index, asked: F32 | I64, *, setting: str = "retrieval") -> dict[str, JSON]:
    """Return what a manifest says of an index that keeps its promise; `asked` as in `measured`.

    `recall`, and for an approximate index `index` (what was measured, the same each time) and
    `timed` (milliseconds, which are not).

    Raises:
        GateError: it finds less than its spec promises.
    """
    if isinstance(index.spec, Exact):
        return {"recall": 1.0}
    found = measured(index, asked, k=index.spec.recall_at)
    refuse_below(found, index.spec, setting=setting)
    return {
        "recall": found.recall,
        "index": {"recall_at": found.recall_at, "queries": found.queries, "bytes": found.bytes},
        "timed": {"single_ms": round(found.single_ms, 4), "batch_ms": round(found.batch_ms, 3)}
        | {"batch": BATCH},
    }


def refuse_below(found: Measured, spec: Approximate, *, setting: str = "retrieval") -> None:
    """Refuse an index that finds less than its spec promises; `setting` is where the spec stands.

    Raises:
        GateError: it does; the text says what was found and what to raise.
    """
    if found.recall >= spec.recall:
        return
    raise GateError(
        f"the {spec.kind} index finds {found.recall:.3f} of the exact best {found.recall_at}, "
        f"{setting}.recall asks for {spec.recall:g} (on {found.queries} held-out queries)",
        f"raise {_remedy(spec, setting)}, or lower {setting}.recall",
        f"or take {setting}=exact, which finds all",
    )


def _remedy(spec: Approximate, setting: str) -> str:
    match spec:
        case Ivf(probes=probes):
            return f"{setting}.probes above {probes}"
        case Hnsw(width=width):
            return f"{setting}.width above {width}"
        case Pq(rescored=rescored, cells=cells, probes=probes):
            more = "" if cells == 1 else f" or {setting}.probes above {probes}"
            return f"{setting}.rescored above {rescored}{more}"
        case _:
            assert_never(spec)


def weight(index: Index) -> int:
    """Return how many bytes the file of an index has."""
    pieces: list[int] = []
    writer = kinds.library.PyCallbackIOWriter(lambda piece: pieces.append(len(piece)))
    kinds.write(index.faiss_index, index.spec, writer)
    del writer  # what it holds back is written when it goes
    return sum(pieces)


def _found(index: Index, asked: F32 | I64, k: int) -> Candidates:
    if asked.ndim == 1:
        return alike(index, asked.astype(np.int64), k)
    return index.search(asked.astype(np.float32), k)


def _ms(act: Callable[[int], object], times: int) -> float:
    took = []
    for time_of in range(times):
        start = time.perf_counter()
        act(time_of)
        took.append(time.perf_counter() - start)
    return 1_000 * median(took)
