"""An index over vectors of sales or members: built once, searched, written and read."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np

from recsys.domain.arrays import F32, I64, NONE, Bool
from recsys.domain.candidates import Candidates
from recsys.retrieval import kinds
from recsys.retrieval.exact import best, checked, scores_of, top_k
from recsys.retrieval.spec import Exact, Pq, Retrieval

SLACK = 16
"""Sales asked for beyond k, so that ties at the k-th place are seen."""
FEW = 4_096
"""Up to so many allowed rows an exact index compares one by one, an approximate one up to
`FEWER_ASTRAY` times as many: it would look at so much for so few that comparing is quicker."""
FEWER_ASTRAY = 8
BATCH = 4
"""From so many queries faiss multiplies matrices instead of scanning query by query."""
WIDEST = 64
"""How many times the settings an approximate search looks at most, before it is exact."""
GATHERED = 1 << 24
"""Numbers of found vectors held at once (64 MB): batches are cut to fit."""


class _Look(NamedTuple):
    """How a search looks."""

    asked: int
    """Rows that are asked for."""
    wider: int
    """Times the settings."""
    every: bool
    """All that are open are asked for, so none can have been missed."""


@dataclass(frozen=True)
class Index:
    """Vectors F32[n, D] of rows 0 to n - 1 and how they are searched."""

    spec: Retrieval
    faiss_index: Any
    vectors: F32
    """They may be mapped from a file; what is found is compared by them, exactly."""
    threads: int = 1
    """Threads of one search; a service uses one a request (PERF 3)."""

    def search(
        self, queries: F32, k: int, *, allowed: Bool | None = None, seed: int = 0
    ) -> Candidates:
        """Return the k best rows for each query F32[m, D], scores by inner product.

        `allowed` Bool[n] masks rows before they are ranked; k are found wherever k are allowed.
        Ties go by hash of (seed, row). Equal to brute force where the spec is exact.

        Raises:
            ValueError: k < 1, another width than the vectors', or numbers that are not finite.
        """
        if allowed is None and (plain := self._single(queries, k)):
            return plain
        queries = checked(queries, self.vectors.shape[1], k)
        num_open = len(self.vectors) if allowed is None else int(np.count_nonzero(allowed))
        few = allowed is not None and num_open <= self._few
        if few or num_open <= k or not len(queries):
            return top_k(queries, self.vectors, k, allowed=allowed, seed=seed)
        look = self._look(k, num_open)
        step = max(1, GATHERED // (look.asked * self.vectors.shape[1]))
        tiles = [
            self._tile(queries[first : first + step], k, allowed=allowed, look=look, seed=seed)
            for first in range(0, len(queries), step)
        ]
        return tiles[0] if len(tiles) == 1 else _joined(tiles)

    def _single(self, query: F32, k: int) -> Candidates | None:
        """Answer one query F32[1, D] of an exact index, with little around faiss's own search.

        None where more has to be thought of: `search` then takes the way that does. After a scan
        of all vectors nothing else is in the cache, so each step here costs several times itself.
        """
        num, dim = self.vectors.shape
        fits = query.shape == (1, dim) and query.dtype == np.float32 and query.flags.c_contiguous
        if not (fits and isinstance(self.spec, Exact) and 1 <= k < num - SLACK):
            return None
        faiss.omp_set_num_threads(self.threads)
        scores, rows = self.faiss_index.search(query, k + SLACK)
        exact = scores_of(query, self.vectors.take(rows[0], axis=0))
        # a number in the query that is not finite makes every score so; ties and scores that
        # faiss, which sums otherwise, has in another order are sorted out on the long way
        if not math.isfinite(exact[0, 0]) or not (exact[0, :-1] > exact[0, 1:]).all():
            return None
        length = math.sqrt(scores_of(query, query)[0, 0])
        if scores[0, -1] >= exact[0, k - 1] - length * self._rounding:
            return None
        return Candidates(sales=rows[:, :k], scores=exact[:, :k])

    def _tile(
        self, queries: F32, k: int, *, allowed: Bool | None, look: _Look, seed: int
    ) -> Candidates:
        found, edge = self._found(queries, k, look=look, allowed=allowed)
        result = best(self._rescored(queries, found), found, k, seed=seed)
        if edge is None:
            unsure = result.sales[:, -1] == NONE
        else:
            # a row that was not returned may equal the k-th within float32 rounding
            lengths = np.sqrt(np.einsum("md,md->m", queries, queries))
            unsure = edge >= result.scores[:, -1] - lengths * np.float32(self._rounding)
        if unsure.any():
            exact = top_k(queries[unsure], self.vectors, k, allowed=allowed, seed=seed)
            result.sales[unsure], result.scores[unsure] = exact.sales, exact.scores
        return result

    @property
    def _few(self) -> int:
        return FEW if isinstance(self.spec, Exact) else FEWER_ASTRAY * FEW

    def _look(self, k: int, num_open: int) -> _Look:
        """Return how to search for k of the rows that are open.

        Where a share of the rows is allowed, as many times more are looked at: the k-th best of
        what is allowed stands as many times further away.
        """
        asked = k + SLACK
        if isinstance(self.spec, Exact):
            return _Look(min(asked, num_open), 1, every=asked >= num_open)
        wider = min(WIDEST, -(-len(self.vectors) // num_open))
        if isinstance(self.spec, Pq):
            asked = max(asked, self.spec.rescored)
        return _Look(min(asked, num_open), wider, every=False)

    def _found(
        self, queries: F32, k: int, *, look: _Look, allowed: Bool | None
    ) -> tuple[I64, F32 | None]:
        """Return rows I64[m, c], NONE where short; and for an exact index its lowest score F32[m].

        There is none where all rows were returned.
        """
        wider = look.wider
        if self.faiss_index.d != queries.shape[1]:
            queries = kinds.widened(queries, self.faiss_index.d)
        with one_path(len(queries), self.threads):
            while True:
                params = kinds.parameters(self.spec, wider, allowed)
                scores, rows = self.faiss_index.search(queries, look.asked, params=params)
                if isinstance(self.spec, Exact):
                    return rows, None if look.every else scores[:, -1]
                if wider >= WIDEST or not (rows[:, k - 1] == NONE).any():
                    return rows, None
                wider = min(WIDEST, 4 * wider)

    def _rescored(self, queries: F32, rows: I64) -> F32:
        scores: F32 = np.einsum("md,mkd->mk", queries, self.vectors[rows])
        if not isinstance(self.spec, Exact):
            scores[rows == NONE] = -np.inf
        return scores

    @cached_property
    def _rounding(self) -> float:
        """How far two sums of one product may lie apart, for a query of length 1."""
        longest = float(np.sqrt(np.einsum("nd,nd->n", self.vectors, self.vectors).max()))
        bound: float = 4 * self.vectors.shape[1] * float(np.finfo(np.float32).eps) * longest
        return bound


def _joined(tiles: list[Candidates]) -> Candidates:
    return Candidates(
        sales=np.concatenate([tile.sales for tile in tiles]),
        scores=np.concatenate([tile.scores for tile in tiles]),
    )


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


def build(spec: Retrieval, vectors: F32, *, threads: int = 1) -> Index:
    """Return an index over vectors F32[n, D]; the same vectors give the same index on a thread.

    Raises:
        ValueError: no vectors, or numbers that are not finite.
    """
    if not len(vectors) or not np.isfinite(vectors).all():
        raise ValueError(f"vectors of shape {vectors.shape}: none, or not all finite")
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    faiss.omp_set_num_threads(threads)
    made = kinds.made(spec, vectors)
    return Index(spec=spec, faiss_index=made, vectors=vectors, threads=threads)


def write(index: Index, path: Path) -> None:
    """Write what searching needs beside the vectors; the caller publishes both, hashed."""
    kinds.write(index.faiss_index, index.spec, str(path))


def read(path: Path, spec: Retrieval, vectors: F32, *, threads: int = 1) -> Index:
    """Read an index whose hash was checked before, over the vectors F32[n, D] it was built on.

    Neither is copied: both stay where they are mapped.

    Raises:
        BrokenArtefactError: the file is not an index of the kind the spec names, or not of these
            vectors.
    """
    found = kinds.read(path, spec, vectors)
    return Index(spec=spec, faiss_index=found, vectors=vectors, threads=threads)
