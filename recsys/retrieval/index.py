"""An index over the vectors of sales: built once, searched, written and read. Home of faiss."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, assert_never

import faiss
import numpy as np

from recsys.domain.arrays import F32, I64, NONE, Bool
from recsys.domain.candidates import Candidates
from recsys.domain.errors import BrokenArtefactError
from recsys.retrieval.exact import best, checked, top_k
from recsys.retrieval.spec import Exact, Hnsw, Ivf, Retrieval

library: Any = faiss
"""faiss without its type stubs, which lack what faiss adds in Python."""
SLACK = 16
"""Sales asked for beyond k, so that ties at the k-th place are seen."""
FEW = 16_384
"""Up to so many allowed sales are compared one by one rather than through the index."""
BATCH = 4
"""From so many queries faiss multiplies matrices instead of scanning query by query."""
WIDENINGS = 3
"""How often an approximate search that came short looks four times wider before it is exact."""


@dataclass(frozen=True)
class Index:
    """Vectors F32[n, D] of sale rows 0 to n - 1 and how they are searched."""

    spec: Retrieval
    faiss_index: Any
    vectors: F32
    threads: int = 1
    """Threads of one search; a service uses one a request (PERF 3)."""

    def search(
        self, queries: F32, k: int, *, allowed: Bool | None = None, seed: int = 0
    ) -> Candidates:
        """Return the k best sale rows for each query F32[m, D], scores by inner product.

        `allowed` Bool[n] masks sales before they are ranked; k are found wherever k are allowed.
        Ties go by hash of (seed, row). Equal to brute force where the spec is exact.

        Raises:
            ValueError: k < 1, another width than the vectors', or numbers that are not finite.
        """
        queries = checked(queries, self.vectors.shape[1], k)
        num_open = len(self.vectors) if allowed is None else int(allowed.sum())
        few = allowed is not None and num_open <= FEW
        if few or num_open <= k or not len(queries):
            return top_k(queries, self.vectors, k, allowed=allowed, seed=seed)
        found, edge = self._search(queries, min(k + SLACK, num_open), allowed)
        scores = self._rescored(queries, found)
        result = best(scores, found, k, seed=seed)
        unsure = result.sales[:, -1] == NONE
        if isinstance(self.spec, Exact) and found.shape[1] < num_open:
            # a sale that was not returned may equal the k-th within float32 rounding
            unsure = unsure | (edge >= result.scores[:, -1] - self._rounding(queries))
        return self._exactly(queries, result, unsure, allowed=allowed, seed=seed)

    def _search(self, queries: F32, k: int, allowed: Bool | None) -> tuple[I64, F32]:
        """Return rows I64[m, k] (NONE where short) and the lowest score found, F32[m]."""
        with one_path(len(queries), self.threads):
            for widening in range(WIDENINGS + 1):
                params = _parameters(self.spec, 4**widening, allowed)
                scores, rows = self.faiss_index.search(queries, k, params=params)
                if isinstance(self.spec, Exact) or not (rows == NONE).any():
                    break
        return rows, scores[:, -1]

    def _rescored(self, queries: F32, rows: I64) -> F32:
        scores: F32 = np.einsum("md,mkd->mk", queries, self.vectors[rows])
        rescored: F32 = np.where(rows == NONE, np.float32(-np.inf), scores)
        return rescored

    @cached_property
    def _longest(self) -> float:
        return float(np.sqrt(np.einsum("nd,nd->n", self.vectors, self.vectors).max()))

    def _rounding(self, queries: F32) -> F32:
        bound = 4 * queries.shape[1] * float(np.finfo(np.float32).eps) * self._longest
        lengths: F32 = np.linalg.norm(queries, axis=1) * np.float32(bound)
        return lengths

    def _exactly(
        self, queries: F32, result: Candidates, rows: Bool, *, allowed: Bool | None, seed: int
    ) -> Candidates:
        if not rows.any():
            return result
        k = result.sales.shape[1]
        exact = top_k(queries[rows], self.vectors, k, allowed=allowed, seed=seed)
        result.sales[rows], result.scores[rows] = exact.sales, exact.scores
        return result


@contextmanager
def one_path(num_queries: int, threads: int) -> Generator[None]:
    """Set faiss's BLAS threshold and threads for one search, and put the threshold back.

    The threshold is process-wide: one thread searches at a time (PERF 2).
    """
    before = faiss.cvar.distance_compute_blas_threshold
    faiss.omp_set_num_threads(threads)
    if num_queries >= BATCH:
        faiss.cvar.distance_compute_blas_threshold = 1
    try:
        yield
    finally:
        faiss.cvar.distance_compute_blas_threshold = before


def _parameters(spec: Retrieval, wider: int, allowed: Bool | None) -> Any:
    chosen: dict[str, Any] = {}
    if allowed is not None:
        chosen["sel"] = library.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
    match spec:
        case Exact():
            return library.SearchParameters(**chosen)
        case Ivf(probes=probes):
            return library.SearchParametersIVF(nprobe=probes * wider, **chosen)
        case Hnsw(width=width):
            return library.SearchParametersHNSW(efSearch=width * wider, **chosen)
        case _:
            assert_never(spec)


def build(spec: Retrieval, vectors: F32, *, threads: int = 1) -> Index:
    """Return an index over vectors F32[n, D]; the same vectors give the same index.

    Raises:
        ValueError: no vectors, or numbers that are not finite.
    """
    if not len(vectors) or not np.isfinite(vectors).all():
        raise ValueError(f"vectors of shape {vectors.shape}: none, or not all finite")
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    faiss.omp_set_num_threads(threads)
    dim = vectors.shape[1]
    index: Any
    match spec:
        case Exact():
            index = faiss.IndexFlatIP(dim)
        case Ivf(cells=cells):
            index = _cells(vectors, cells)
        case Hnsw(links=links, build_width=width):
            index = faiss.IndexHNSWFlat(dim, links, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = width
        case _:
            assert_never(spec)
    index.add(vectors)
    return Index(spec=spec, faiss_index=index, vectors=vectors, threads=threads)


def _cells(vectors: F32, cells: int) -> Any:
    num, dim = vectors.shape
    cells = cells or int(4 * np.sqrt(num))
    # k-means wants some 39 vectors a cell; faiss warns on its own stream below that
    cells = max(1, min(cells, num // 39))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, cells, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    return index


def write(index: Index, path: Path) -> None:
    """Write the index to one file; the caller publishes it with its hash."""
    faiss.write_index(index.faiss_index, str(path))


def read(path: Path, spec: Retrieval, *, threads: int = 1) -> Index:
    """Read an index whose hash was checked before.

    Raises:
        BrokenArtefactError: the file is not an index of the kind the spec names.
    """
    faiss.set_deserialization_vector_byte_limit(max(1, path.stat().st_size))
    try:
        index = library.read_index(str(path))
    except RuntimeError as error:
        raise BrokenArtefactError(
            f"cannot read index {path.name}", str(error)[:200], "publish the bundle again"
        ) from error
    return Index(spec=spec, faiss_index=index, vectors=_vectors(index, spec, path), threads=threads)


def _vectors(index: Any, spec: Retrieval, path: Path) -> F32:
    kinds = {"exact": "IndexFlat", "ivf": "IndexIVFFlat", "hnsw": "IndexHNSWFlat"}
    if not type(index).__name__.startswith(kinds[spec.kind]):
        raise BrokenArtefactError(
            f"index {path.name} is a {type(index).__name__}, not of kind {spec.kind}",
            "publish the bundle again, or name the kind it was built with",
        )
    if spec.kind == "ivf":
        index.make_direct_map()
    vectors: F32 = index.reconstruct_n(0, index.ntotal)
    return vectors


def measured_recall(index: Index, vectors: F32, queries: F32, *, k: int = 10) -> float:
    """Return the share of the exact k best of `vectors` that the index finds for the queries."""
    found = index.search(queries, k).sales
    right = top_k(queries, vectors, k).sales
    hits = (found[:, :, None] == right[:, None, :]) & (right[:, None, :] != NONE)
    return float(hits.sum() / max(1, (right != NONE).sum()))
