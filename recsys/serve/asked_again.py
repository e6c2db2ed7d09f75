"""What a bundle is asked when it is published, and again by whoever opens it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recsys.domain.arrays import F32, I64, NONE
from recsys.domain.errors import BrokenArtefactError
from recsys.domain.manifest import JSON, Manifest
from recsys.retrieval import measure
from recsys.retrieval.spec import Exact
from recsys.serve.parts import BundleParts

SELF_TEST_MEMBERS = 16
RECALL_QUERIES = 200
TOLERANCE = 1e-5
"""Within which the gains of the self-test must come back."""
SEARCHING = threading.Lock()
"""faiss's settings are process-wide: one thread searches at a time (PERF 2)."""


def questions(parts: BundleParts) -> JSON:
    """Ask for a few slates, so that whoever opens the bundle can ask for them again."""
    at = probe(parts)
    members = evenly(np.flatnonzero(parts.personalise), SELF_TEST_MEMBERS)
    if not len(members):
        return {"at": at, "members": []}
    slates = parts.slates(members, parts.shelves.at(at), slots=6)
    return {
        "at": at,
        "members": members.tolist(),
        "sales": slates.sales.tolist(),
        "gains": slates.gains.astype(np.float64).tolist(),
    }


def self_test(parts: BundleParts, manifest: Manifest, folder: Path) -> None:
    """Ask for these slates again.

    Raises:
        BrokenArtefactError: a slate is another; the text names its member row.
    """
    said = mapping(manifest.self_test)
    members = np.array(said["members"], dtype=np.int64)
    if not len(members):
        return
    sales = np.array(said["sales"])
    slates = parts.slates(members, parts.shelves.at(int(said["at"])), slots=sales.shape[1])
    away = np.abs(slates.gains - np.array(said["gains"])) > TOLERANCE
    # another sale is right only where it ties with the one that was expected
    other = (slates.sales != sales) & ((slates.margin > TOLERANCE) | (slates.sales == NONE))
    wrong = (away | other).any(axis=1)
    if wrong.any():
        raise BrokenArtefactError(
            f"{folder} answers otherwise than when it was published: "
            f"{int(wrong.sum())} of {len(members)} slates of its self-test differ",
            f"first: member row {int(members[wrong][0])}",
            "publish it again with this version, or name an older one",
        )


def found(parts: BundleParts) -> dict[str, JSON]:
    """Return what the index of sales finds of the exact best, as the manifest says it.

    Raises:
        GateError: it finds less than its spec promises.
    """
    with SEARCHING:
        return measure.promised(parts.index, _held_out(parts))


def check_recall(parts: BundleParts, recorded: float) -> None:
    """Measure it again.

    Raises:
        ValueError: it finds less than when it was published.
    """
    if isinstance(parts.index.spec, Exact):
        return
    with SEARCHING:
        now = measure.recall(parts.index, _held_out(parts), k=parts.index.spec.recall_at)
    if now < recorded - 0.005:
        raise ValueError(f"its index finds {now:.3f} of the best, {recorded:.3f} when made")


def _held_out(parts: BundleParts) -> F32:
    """Return vectors the index of sales was not built on: those of some members."""
    rows = evenly(np.arange(parts.shop.num_members), RECALL_QUERIES)
    return parts.members.vectors[rows]


def probe(parts: BundleParts) -> int:
    """Return an instant at which something is open: the bundle's own, or the next opening."""
    at = parts.decided_at
    if not len(parts.shelves.at(at)):
        later = parts.shelves.next_opening(at)
        if later is None:
            raise ValueError(f"no sale is open at {at} or opens later: nothing to serve")
        at = later
    return at


def evenly(rows: I64, count: int) -> I64:
    """Return up to `count` of some rows, evenly spread."""
    place = np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64)
    return np.unique(rows[place])


def mapping(said: JSON) -> Mapping[str, Any]:
    """Return named facts.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(said, Mapping):
        raise TypeError(f"wanted named facts, found {type(said).__name__}")
    return said
