"""The best sales of a shelf by comparing with every one of them, in numpy."""

from __future__ import annotations

import numpy as np

from recsys.domain.arrays import F32, I64, NONE, Bool
from recsys.domain.candidates import Candidates
from recsys.domain.ties import keyed

TILE = 1 << 22
"""Scores held at once (16 MB): batches are cut to fit."""


def checked(queries: F32, dim: int, k: int) -> F32:
    """Return queries F32[m, dim] that can be searched.

    Raises:
        ValueError: their shape or k is wrong, or a number is not finite.
    """
    if k < 1:
        raise ValueError(f"k is {k}; ask for one sale at least")
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise ValueError(f"queries of shape {queries.shape}; the vectors have {dim} numbers each")
    if not np.isfinite(queries).all():
        raise ValueError("queries hold numbers that are not finite")
    return np.ascontiguousarray(queries, dtype=np.float32)


def scores_of(queries: F32, vectors: F32) -> F32:
    """Return all inner products F32[m, n], the same bits in any batch.

    A BLAS product rounds differently for other batch sizes, so single answers and batches
    would disagree; einsum sums each pair on its own.
    """
    products: F32 = np.einsum("md,nd->mn", queries, vectors)
    return products


def best(scores: F32, sales: I64, k: int, *, seed: int = 0) -> Candidates:
    """Return the k best of each row: higher score first, ties by hash of (seed, sale).

    `scores` F32[m, c], -inf for what may not be chosen; `sales` I64[m, c]. Rows that end early
    are padded with NONE.
    """
    if len(scores) == 1 and (plain := _best_of_one(scores[0], sales[0], k)):
        return plain
    scores, sales = _front(scores, sales, k)
    each = np.arange(len(scores))[:, None]
    order = np.argsort(-scores, axis=1, kind="stable")[:, : k + 1]
    top = scores[each, order]
    if (top[:, 1:] == top[:, :-1]).any():
        rank = np.argsort(np.argsort(keyed(seed, sales), axis=1, kind="stable"), axis=1)
        order = np.lexsort((rank, -scores), axis=1)
        top = scores[each, order[:, :k]]
    top = top[:, :k]
    rows = np.where(np.isneginf(top), NONE, sales[each, order[:, :k]])
    missing = k - rows.shape[1]
    if missing:
        fill = ((0, 0), (0, missing))
        rows = np.pad(rows, fill, constant_values=NONE)
        top = np.pad(top, fill, constant_values=-np.inf)
    return Candidates(sales=rows, scores=top)


def _best_of_one(scores: F32, sales: I64, k: int) -> Candidates | None:
    """Return what `best` would of one row F32[c], quicker; None where k are missing or some tie."""
    order = scores.argsort()[: -k - 2 : -1]
    top = scores[order]
    if len(top) < k or top[k - 1] == -np.inf or (top[1:] == top[:-1]).any():
        return None
    return Candidates(sales=sales[order[:k]][None], scores=top[None, :k])


def _front(scores: F32, sales: I64, k: int) -> tuple[F32, I64]:
    """Keep the columns that can be among the k best, those tied with the last one included."""
    if scores.shape[1] <= 4 * k or not len(scores):
        return scores, sales
    last = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
    width = int((scores >= last).sum(axis=1).max())
    if width == scores.shape[1]:
        return scores, sales
    front = np.argpartition(-scores, width - 1, axis=1)[:, :width]
    return np.take_along_axis(scores, front, axis=1), np.take_along_axis(sales, front, axis=1)


def top_k(
    queries: F32, vectors: F32, k: int, *, allowed: Bool | None = None, seed: int = 0
) -> Candidates:
    """Return the k rows of `vectors` F32[n, D] with the largest products with each query F32[m, D].

    `allowed` Bool[n] masks rows before they are ranked. Ties go by hash of (seed, row).
    Rows that are missing are NONE with score -inf.

    Raises:
        ValueError: k < 1, another width than the vectors', or numbers that are not finite.
    """
    queries = checked(queries, vectors.shape[1], k)
    rows = np.arange(len(vectors), dtype=np.int64)
    if allowed is not None:
        rows = np.flatnonzero(allowed)
        vectors = vectors[rows]
    step = max(1, TILE // max(1, len(rows)))
    tiles = []
    for first in range(0, max(1, len(queries)), step):
        scores = scores_of(queries[first : first + step], vectors)
        tiles.append(best(scores, np.broadcast_to(rows, scores.shape), k, seed=seed))
    return Candidates(
        sales=np.concatenate([tile.sales for tile in tiles]),
        scores=np.concatenate([tile.scores for tile in tiles]),
    )
