"""What each kind of index finds, takes and weighs: python -m benchmarks.index [--quick].

Vectors are drawn round centres, 100 to each, which flatters cells and graphs; beside them stands a
row a kind on vectors without any clusters, which is the hardest there is. Real ones lie between.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cells import load_now
from benchmarks.turns import Row, Spread, line, middle, verdict
from recsys.domain.arrays import F32
from recsys.retrieval.exact import top_k
from recsys.retrieval.index import Index, build
from recsys.retrieval.measure import BATCH, Measured, measured
from recsys.retrieval.spec import Exact, Hnsw, Ivf, Pq, Retrieval

DIM, K, QUERIES, CLUSTER = 64, 10, 200, 100
BAR = 1.1
"""How many times the median of faiss alone a query may take (PERF 5)."""
SHARES = (0.5, 0.1)
"""Shares of the vectors that a filter allows."""

Act = Callable[[F32], object]


def clustered(num: int) -> tuple[F32, F32]:
    """Return unit vectors F32[num, DIM] round centres, and queries round the same ones."""
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((num // CLUSTER, DIM), dtype=np.float32)
    noise = rng.standard_normal((num + QUERIES, DIM), dtype=np.float32)
    near = centres[rng.integers(0, len(centres), len(noise))]
    vectors = unit(near + np.float32(0.7) * noise)
    return vectors[:num], vectors[num:]


def scattered(num: int) -> tuple[F32, F32]:
    """Return unit vectors F32[num, DIM] in any direction, and queries."""
    vectors = unit(np.random.default_rng(1).standard_normal((num + QUERIES, DIM), dtype=np.float32))
    return vectors[:num], vectors[num:]


def unit(vectors: F32) -> F32:
    """Return vectors brought to length 1."""
    lengths: F32 = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    return vectors / lengths


@dataclass(frozen=True)
class Case:
    """One index over one set of vectors."""

    name: str
    spec: Retrieval
    draw: Callable[[int], tuple[F32, F32]]
    num: int


def cases(*, quick: bool) -> Iterator[Case]:
    """Yield what is measured, a size after another; a graph of a million takes too long here."""
    kinds: list[Retrieval] = [Exact(), Ivf(), Hnsw(), Pq()]
    for num in (10_000,) if quick else (10_000, 100_000, 1_000_000):
        for spec in kinds:
            if num < 1_000_000 or not isinstance(spec, Hnsw):
                yield Case("clustered", spec, clustered, num)
    num = 10_000 if quick else 100_000
    for spec in kinds[1:]:
        yield Case("scattered", spec, scattered, num)
    if not quick:
        yield Case("clustered, cells", Pq(cells=0, probes=32), clustered, 1_000_000)


@dataclass(frozen=True)
class Judged:
    """What a case came to."""

    found: Measured
    seconds: float
    """Of the processor, to build it on one thread."""
    within: dict[float, float]
    """Share of the vectors a filter allows -> recall."""


def judged(case: Case) -> Judged:
    """Build and measure an index."""
    vectors, queries = case.draw(case.num)
    began = time.process_time()
    index = build(case.spec, vectors)
    seconds = time.process_time() - began
    within = {share: filtered(index, queries[:50], share) for share in SHARES}
    return Judged(measured(index, queries, k=K), seconds, within)


def filtered(index: Index, queries: F32, share: float) -> float:
    """Return the share of the exact best that is found where a filter allows some vectors."""
    if isinstance(index.spec, Exact):
        return 1.0
    allowed = np.random.default_rng(3).random(len(index.vectors)) < share
    found = index.search(queries, K, allowed=allowed).sales
    right = top_k(queries, index.vectors, K, allowed=allowed).sales
    hits: float = (found[:, :, None] == right[:, None, :]).sum() / right.size
    return float(hits)


def told(case: Case, said: Judged) -> list[Row]:
    """Print a line and return its rows."""
    name, found = f"{case.spec.kind} {case.num:,} {case.name}", said.found
    columns = [
        ("recall", found.recall, "share", 3),
        *((f"at {share:.0%}", recall, "share", 3) for share, recall in said.within.items()),
        ("one", found.single_ms, "ms", 3),
        (f"{BATCH} of", found.batch_ms, "ms", 1),
        ("build", said.seconds, "s", 1),
        ("file", found.bytes / case.num, "B/vec", 1),
    ]
    cells = "".join(f"{value:>10.{digits}f}" for _, value, _, digits in columns)
    print(f"  {name:34}{cells}", flush=True)
    return [
        Row(f"{name}: {what}", value, unit_of, value, value, QUERIES)
        for what, value, unit_of, _ in columns
    ]


def beside_faiss(*, num: int, turns: int) -> Spread:
    """Return how many times as long as faiss alone a query takes: medians of blocks."""
    vectors, queries = clustered(num)
    index = build(Exact(), vectors)
    raw: Any = index.faiss_index
    ours, theirs = partial(index.search, k=K), partial(raw.search, k=K)
    block((theirs, ours), queries)
    pairs = [block((theirs, ours), queries) for _ in range(turns)]
    print(
        f"  medians: faiss {middle(a for a, _ in pairs)} ms, ours {middle(b for _, b in pairs)} ms"
    )
    return middle(mine / other for other, mine in pairs)


def block(acts: tuple[Act, Act], queries: F32) -> tuple[float, float]:
    """Return the median milliseconds of two ways to ask, query by query in turn."""
    took: tuple[list[float], list[float]] = ([], [])
    for row in range(len(queries)):
        # the second finds the vectors in the cache: each is the second half of the time
        for which in (row % 2, 1 - row % 2):
            began = time.perf_counter()
            acts[which](queries[row : row + 1])
            took[which].append(time.perf_counter() - began)
    first, second = (1_000 * float(np.median(some)) for some in took)
    return first, second


def alone(*, quick: bool) -> list[Row]:
    """Print and return the ratio to faiss alone, one thread."""
    num, turns = (10_000, 5) if quick else (100_000, 15)
    found = beside_faiss(num=num, turns=turns)
    bar, said = (None, None) if quick else (BAR, verdict(found, BAR, at_most=True))
    print(f"  one query of {num:,} x {DIM}, to faiss alone: {found}   {BAR}: {said or 'not asked'}")
    return [
        Row.of(
            f"one query of {num:,}", found, "ratio", ratio_to="faiss alone", bar=bar, verdict=said
        )
    ]


def main() -> None:
    """Print a table and one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="10,000 vectors alone, no verdict")
    parser.add_argument("--ratio", action="store_true", help="the ratio to faiss alone, no more")
    asked = parser.parse_args()
    before, rows = load_now(), alone(quick=asked.quick)
    if not asked.ratio:
        heads = ("recall", *(f"at {share:.0%}" for share in SHARES), "one, ms", f"{BATCH}, ms")
        titles = "".join(f"{head:>10}" for head in (*heads, "build, s", "B/vector"))
        print(f"  {f'recall of {K}; at a share allowed':34}{titles}")
        for case in cases(quick=asked.quick):
            rows += told(case, judged(case))
            gc.collect()
    print(line("index", rows, quick=asked.quick, threads=1, load=(before, load_now())))


if __name__ == "__main__":
    main()
