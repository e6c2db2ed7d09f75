"""Baselines that compare: content-kNN, ItemKNN and EASE, on sparse histories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from recsys.data.spectrum import Engaged
from recsys.domain.arrays import F32, I64
from recsys.domain.events import Events
from recsys.domain.requests import Requests
from recsys.evaluate.counts import shelf
from recsys.evaluate.past import past

BLOCK = 1024
"""Columns of a Gram matrix made at a time."""


@dataclass(frozen=True)
class ContentKnn:
    """Cosine between the sale and the decayed sum of what the member engaged with."""

    history: Events
    vectors: sparse.csr_array
    """Content of each sale, [num_sales, words], rows of length 1."""
    half_life_us: float

    def __call__(self, requests: Requests, rows: slice) -> F32:
        """Score each sale of the shelf, F32[n, s]."""
        before = past(self.history, requests, rows)
        taste = sparse.csr_array(
            (before.decayed(self.half_life_us), (before.row, before.sale)),
            shape=(rows.stop - rows.start, self.vectors.shape[0]),
        )
        here = self.vectors[shelf(requests, rows)]
        score: F32 = ((taste @ self.vectors) @ here.T).toarray().astype(np.float32)
        return score


@dataclass(frozen=True)
class Together:
    """Sum over the member's past sales of how strongly each speaks for the sale."""

    history: Events
    place: I64
    """Row of each sale among the k that are known, I64[num_sales]; -1 = 0 for everybody."""
    weights: F32 | sparse.csr_array
    """From a past sale (row) to a sale (column), [k, k]."""

    def __call__(self, requests: Requests, rows: slice) -> F32:
        """Score each sale of the shelf, F32[n, s]."""
        sales = shelf(requests, rows)
        score = np.zeros((rows.stop - rows.start, len(sales)), dtype=np.float32)
        on_shelf = np.flatnonzero(self.place[sales] >= 0)
        if len(on_shelf):
            product = self.known(requests, rows) @ self._to(self.place[sales[on_shelf]])
            score[:, on_shelf] = product.toarray() if sparse.issparse(product) else product
        return score

    def _to(self, place: I64) -> F32 | sparse.csr_array:
        # places ascend, so a shelf that holds all known sales needs no copy
        if len(place) == self.weights.shape[1]:
            return self.weights
        if isinstance(self.weights, sparse.csr_array):
            return self.weights[:, place]
        return self.weights.take(place, axis=1)

    def known(self, requests: Requests, rows: slice) -> sparse.csr_array:
        """Mark which of the k sales each member engaged with before, float32 [n, k]."""
        before = past(self.history, requests, rows)
        place, width = self.place[before.sale], self.weights.shape[0]
        cells = np.unique((before.row * width + place)[place >= 0])
        ones = np.ones(len(cells), dtype=np.float32)
        shape = (rows.stop - rows.start, width)
        return sparse.csr_array((ones, np.divmod(cells, max(width, 1))), shape=shape)


@dataclass(frozen=True)
class Common:
    """Members that k sales have in common, as known at the fit."""

    place: I64
    """Row of each sale among the k, I64[num_sales]; -1 = not among them."""
    gram: F32
    """F32[k, k]."""

    @classmethod
    def of(cls, engaged: Engaged) -> Common:
        """Count the members that each two of the k sales share."""
        return cls(place=engaged.place, gram=gram(engaged.matrix))

    def cosine(self, *, neighbours: int, shrink: float) -> sparse.csr_array:
        """Return ItemKNN's weights, [k, k]: the strongest neighbours of each past sale.

        Shrunk cosine n_ij / (sqrt(n_i n_j) + shrink) (Sarwar et al. 2001).
        """
        size = np.sqrt(np.diagonal(self.gram))
        keep = min(neighbours, max(len(size) - 1, 0))
        blocks = []
        for first in range(0, len(size), BLOCK):
            rows = np.arange(first, min(first + BLOCK, len(size)))
            alike = self.gram[rows] / (size[rows, None] * size[None, :] + shrink)
            alike[np.arange(len(rows)), rows] = 0
            best = np.argpartition(-alike, keep, axis=1)[:, :keep]
            row = np.repeat(np.arange(len(rows)), keep)
            value = np.take_along_axis(alike, best, axis=1).ravel()
            blocks.append(
                sparse.csr_array((value, (row, best.ravel())), shape=(len(rows), len(size)))
            )
        weights = sparse.csr_array(sparse.vstack(blocks)) if blocks else sparse.csr_array((0, 0))
        weights.eliminate_zeros()
        return weights

    def ease(self, ridge: float) -> F32:
        """Return EASE's weights, F32[k, k]: -P / diag(P), P = (G + ridge I)^-1 (Steck 2019)."""
        if not len(self.gram):
            return self.gram
        factor, failed = lapack.spotrf(self.gram + np.diag(np.full(len(self.gram), ridge)))
        inverse, _ = lapack.spotri(factor)
        if failed:
            raise ValueError(f"EASE: a Gram matrix with ridge {ridge} is not positive definite")
        inverse = np.triu(inverse) + np.triu(inverse, 1).T
        weights: F32 = -inverse / np.diagonal(inverse)
        np.fill_diagonal(weights, 0)
        return weights


def gram(matrix: sparse.csr_array) -> F32:
    """Return matrix.T @ matrix, F32[k, k]."""
    width = matrix.shape[1]
    product = np.empty((width, width), dtype=np.float32)
    for first in range(0, width, BLOCK):
        block = slice(first, min(first + BLOCK, width))
        product[:, block] = (matrix.T @ matrix[:, block]).toarray()
    return product
