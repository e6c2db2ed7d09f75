"""Who is like whom: rows of an index that are near to other rows of it."""

from __future__ import annotations

import numpy as np

from recsys.domain.arrays import I64, Bool
from recsys.domain.candidates import Candidates
from recsys.domain.embeddings import Embeddings
from recsys.retrieval.index import Index, build
from recsys.retrieval.spec import Retrieval


def build_alike(spec: Retrieval, members: Embeddings, *, threads: int = 1) -> Index:
    """Return an index over the unit part of members' vectors, F32[m, unit_dims].

    Where that is not the whole vector, it is copied.
    """
    return build(spec, members.unit, threads=threads)


def alike(
    index: Index, rows: I64, k: int, *, allowed: Bool | None = None, seed: int = 0
) -> Candidates:
    """Return the k rows nearest to each of some rows I64[m] of an index, never the row itself.

    `allowed` Bool[n] masks rows before they are ranked: members who consent to be found.

    Raises:
        ValueError: k < 1.
    """
    found = index.search(index.vectors[rows], k + 1, allowed=allowed, seed=seed)
    # the row itself goes last and is cut off; where others equal it, it may not be there at all
    own = found.sales == rows[:, None]
    others = np.argsort(own, axis=1, kind="stable")[:, :k]
    return Candidates(
        sales=np.take_along_axis(found.sales, others, axis=1),
        scores=np.take_along_axis(found.scores, others, axis=1),
    )
