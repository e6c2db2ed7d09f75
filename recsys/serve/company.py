"""Members like a member: an index over their vectors, made where there are many of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recsys.domain.arrays import F32, I64, NONE, Bool
from recsys.domain.embeddings import Embeddings
from recsys.domain.errors import GateError
from recsys.domain.manifest import JSON
from recsys.retrieval import index, measure
from recsys.retrieval.alike import alike, build_alike
from recsys.retrieval.exact import best, scores_of
from recsys.retrieval.index import Index
from recsys.retrieval.spec import Pq

MANY = 200_000
"""Members from which on an index is made; fewer are compared one by one in milliseconds."""
QUERIES = 200
FILE = "index.faiss"
_BLOCK = 65_536


def gathered(members: Embeddings) -> Index | None:
    """Return an index over the unit part of members' vectors; None = few, or none keeps its word.

    An index that finds less than its spec promises is not kept: then all are compared.
    """
    if len(members.ids) < MANY:
        return None
    made = build_alike(Pq(), members)
    try:
        promised(made)
    except GateError:
        return None
    return made


def promised(made: Index) -> JSON:
    """Return what the manifest says of the index: what it finds of the exact nearest.

    Raises:
        GateError: it finds less than its spec promises.
    """
    some = np.unique(np.linspace(0, len(made.vectors) - 1, QUERIES).astype(np.int64))
    found = measure.promised(made, some, setting="alike")
    return {"spec": made.spec.model_dump(mode="json"), **found}


def read(folder: Path, said: Mapping[str, Any] | None, unit: F32) -> Index | None:
    """Read the index that a bundle carries, if it does; `said` is what its manifest says of it."""
    if said is None:
        return None
    return index.read(folder / FILE, Pq.model_validate(said["spec"]), unit)


def nearest(unit: F32, row: int, k: int, *, allowed: Bool, made: Index | None) -> tuple[I64, F32]:
    """Return rows I64[n] and cosines F32[n] of the n <= k members nearest to a row, best first.

    `unit` F32[m, U]; `allowed` Bool[m] says who may be found, never the row itself.
    """
    if made is not None:
        rows = np.array([row], dtype=np.int64)
        found = alike(made, rows, k, allowed=allowed)
        kept = found.sales[0] != NONE
        return found.sales[0][kept], found.scores[0][kept]
    near = np.zeros((1, 0), dtype=np.int64)
    scores = np.zeros((1, 0), dtype=np.float32)
    for first in range(0, len(unit), _BLOCK):
        here = np.flatnonzero(allowed[first : first + _BLOCK]) + first
        here = here[here != row]
        some = np.concatenate((scores, scores_of(unit[[row]], unit[here])), axis=1)
        found = best(some, np.concatenate((near, here[None]), axis=1), k)
        kept = found.sales != NONE
        near, scores = found.sales[kept][None], found.scores[kept][None]
    return near[0], scores[0]
