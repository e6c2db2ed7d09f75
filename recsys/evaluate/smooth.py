"""The baseline that filters a graph: GF-CF, two sparse products and one SVD, no training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys.data.spectrum import Engaged, Filter
from recsys.domain.arrays import F32
from recsys.domain.events import Events
from recsys.domain.requests import Requests
from recsys.evaluate.counts import shelf
from recsys.evaluate.neighbours import Together, gram

_FULL = 0.25
"""Share of cells filled above which a dense matrix is smaller and faster than a sparse one."""


@dataclass(frozen=True)
class Smooth:
    """GF-CF (Shen et al. 2021): r R~^T R~ + alpha r D_i^-1/2 V V^T D_i^1/2.

    R~ = D_u^-1/2 R D_i^-1/2 over the engagements known when it was fitted, V its strongest right
    singular vectors, r the member's past as of the request.
    """

    linear: Together
    """With the weights R~^T R~."""
    low: Filter
    alpha: float

    @classmethod
    def of(cls, history: Events, engaged: Engaged, *, rank: int, alpha: float) -> Smooth:
        """Fit both parts; the larger is R~^T R~, [k, k], sparse where few sales meet."""
        weights = _meetings(engaged.normalised())
        return cls(Together(history, engaged.place, weights), Filter.low_pass(engaged, rank), alpha)

    def __call__(self, requests: Requests, rows: slice) -> F32:
        """Score each sale of the shelf, F32[n, s]; 0 for those unknown at the fit."""
        score = self.linear(requests, rows)
        place = self.linear.place[shelf(requests, rows)]
        on_shelf = np.flatnonzero(place >= 0)
        smooth = (self.linear.known(requests, rows) @ self.low.past) * np.float32(self.alpha)
        score[:, on_shelf] += smooth @ self.low.sale[place[on_shelf]].T
        return score


def _meetings(matrix: sparse.csr_array) -> F32 | sparse.csr_array:
    # each member fills at most the square of their row
    cells = float((np.diff(matrix.indptr).astype(np.float64) ** 2).sum())
    if cells > _FULL * matrix.shape[1] ** 2:
        return gram(matrix)
    return sparse.csr_array(matrix.T @ matrix)
