"""Who engaged with what, and the smooth part of it: a truncated SVD in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys.domain.arrays import F32, F64, I64
from recsys.domain.events import Events
from recsys.domain.requests import Requests

SPARE, PASSES = 32, 10
"""Directions followed beside those wanted, and how often all are multiplied by the matrix."""
_CHUNK = 4096
_NOTHING = 1e-5
"""Share of the largest squared singular value below which a direction is rounding noise."""


@dataclass(frozen=True)
class Engaged:
    """Which members engaged with which of k sales, as far as some requests tell."""

    place: I64
    """Row of each sale among the k, I64[num_sales]; -1 = not among them."""
    matrix: sparse.csr_array
    """1 where a member engaged with a sale, however often; float32 [num_members, k]."""

    @classmethod
    def of(
        cls, history: Events, requests: Requests, *, num_sales: int, most: int | None = None
    ) -> Engaged:
        """Mark each member's past at their last request and the outcomes of all their requests.

        So no outcome of a later block counts, also where each member has cutoffs of their own and
        one instant holds events of two blocks. Of the sales stay the `most` with many members.
        """
        end = history.member_ptr[:-1].copy()
        np.maximum.at(end, requests.member, requests.history_end)
        early = np.arange(len(history)) < end[history.member]
        asked = np.repeat(requests.member, np.diff(requests.target_ptr))
        member = np.concatenate((history.member[early], asked))
        sale = np.concatenate((history.sale[early], requests.target_sale))
        cells = np.unique(member.astype(np.int64) * num_sales + sale)
        member, sale = np.divmod(cells, num_sales)
        counts = np.bincount(sale, minlength=num_sales)
        chosen = np.sort(np.argsort(-counts, kind="stable")[:most])
        chosen = chosen[counts[chosen] > 0]
        place = np.full(num_sales, -1, dtype=np.int64)
        place[chosen] = np.arange(len(chosen))
        inside = place[sale] >= 0
        ones = np.ones(int(inside.sum()), dtype=np.float32)
        shape = (len(end), len(chosen))
        return cls(
            place, sparse.csr_array((ones, (member[inside], place[sale[inside]])), shape=shape)
        )

    def by_sale(self) -> F32:
        """Count the members of each of the k sales, F32[k], all >= 1."""
        return np.bincount(self.matrix.indices, minlength=self.matrix.shape[1]).astype(np.float32)

    def normalised(self) -> sparse.csr_array:
        """Return D_u^-1/2 R D_i^-1/2, float32 [num_members, k]: R with both degrees taken out."""
        by_member = np.diff(self.matrix.indptr).astype(np.float32)
        spread = np.sqrt(np.repeat(by_member, np.diff(self.matrix.indptr)))
        values = 1 / (spread * np.sqrt(self.by_sale())[self.matrix.indices])
        return sparse.csr_array(
            (values, self.matrix.indices, self.matrix.indptr), shape=self.matrix.shape
        )


@dataclass(frozen=True)
class Filter:
    """How a past r_u (0 or 1) scores all k sales, in two factors: (r_u @ past) @ sale.T."""

    past: F32
    """What an earlier engagement with a sale adds, F32[k, r]."""
    sale: F32
    """What a sale is multiplied with, F32[k, r]."""

    @classmethod
    def low_pass(cls, engaged: Engaged, rank: int, *, seed: int = 0) -> Filter:
        """Return D_i^-1/2 V V^T D_i^1/2: the strongest `rank` directions of what is normalised.

        GF-CF's ideal low pass (Shen et al. 2021); fewer where the matrix has fewer.
        """
        vectors = right_vectors(engaged.normalised(), rank, seed=seed)[0]
        root: F32 = np.sqrt(engaged.by_sale())[:, None]
        return cls(past=vectors / root, sale=vectors * root)

    @classmethod
    def ease(cls, engaged: Engaged, rank: int, ridge: float, *, seed: int = 0) -> Filter:
        """Return EASE's weights between two sales (Steck 2019), of the strongest directions alone.

        With R = U S V^T and h = S^2 / (S^2 + ridge), (R^T R + ridge I)^-1 = (I - V h V^T) / ridge,
        so that -P_ij / P_jj = (V h V^T)_ij / (1 - (V h V^T)_jj). What a sale says of itself, which
        EASE leaves out, stays in.
        """
        vectors, power = right_vectors(engaged.matrix, rank, seed=seed)
        kept = (power / (power + ridge)).astype(np.float32)
        # above 0 but for rounding, where the ridge is next to nothing
        alone: F32 = np.maximum(1 - np.square(vectors) @ kept, np.float32(1e-7))
        return cls(past=vectors * kept, sale=vectors / alone[:, None])


def right_vectors(matrix: sparse.csr_array, rank: int, *, seed: int = 0) -> tuple[F32, F64]:
    """Return the strongest right singular vectors of a matrix [n, k], F32[k, r], r <= rank.

    Beside them the squares of their singular values, F64[r], largest first.

    Subspace iteration from a seeded start (Halko, Martinsson and Tropp 2011): the same matrix gives
    the same vectors. Members pass in chunks of at least k, so that beside the matrix only a few
    [k, rank + SPARE] arrays are held.
    """
    width = matrix.shape[1]
    if not width:
        return np.zeros((0, 0), dtype=np.float32), np.zeros(0)
    size = min(rank + SPARE, width)
    start = np.random.default_rng(seed).standard_normal((width, size), dtype=np.float32)
    basis = np.linalg.qr(start)[0]
    # a basis of everything needs no turning
    for _ in range(PASSES if size < width else 0):
        basis = np.linalg.qr(_squared(matrix, basis))[0]
    inner: F64 = basis.T.astype(np.float64) @ _squared(matrix, basis)
    power, turn = np.linalg.eigh((inner + inner.T) / 2)
    strongest = np.argsort(-power, kind="stable")[:rank]
    strongest = strongest[power[strongest] > _NOTHING * power.max(initial=0.0)]
    vectors: F32 = basis @ turn[:, strongest].astype(np.float32)
    return vectors, power[strongest]


def _squared(matrix: sparse.csr_array, basis: F32) -> F32:
    """Return matrix.T @ matrix @ basis, F32[k, b]."""
    total = np.zeros_like(basis)
    step = max(_CHUNK, len(basis))
    for first in range(0, matrix.shape[0], step):
        some = matrix[first : first + step]
        total += some.T @ (some @ basis)
    return total
