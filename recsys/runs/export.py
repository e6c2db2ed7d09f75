"""A bundle's vectors as parquet that other programs read without our code."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from recsys.domain.artefact import publish
from recsys.domain.embeddings import Embeddings
from recsys.domain.errors import GateError
from recsys.domain.manifest import JSON
from recsys.domain.packed import BYTES, Packing
from recsys.domain.ties import tie_order
from recsys.retrieval.rounding import Loss, Rounding, loss
from recsys.runs.console import Console
from recsys.runs.folder import utc_now
from recsys.runs.serve import opened
from recsys.runs.spec import Export
from recsys.serve.parts import BundleParts

SAMPLE = 2000
"""Members over whom the loss of rounded vectors is measured, at most: drawn by a hash."""


def export(spec: Export) -> None:
    """Write the vectors of members and sales, a few files each, as one verified folder.

    Columns: id (str), vector (fixed list), and for int8 scale (three float32). The manifest names
    the bundle, the model, how many of the first coordinates have length 1, and what rounded
    vectors lose.

    Raises:
        ArtefactError: the bundle cannot be used.
        GateError: rounded vectors would lose more than `max_loss`; nothing is written.
        NoRoomError: the disk does not hold the vectors.
    """
    console = Console()
    bundle = opened(spec.bundle, spec.bundles_dir)
    tables = {"members": bundle.parts.members, "sales": bundle.parts.sales}
    chosen = {what: tables[what] for what in dict.fromkeys(spec.what)}
    packing = Packing(spec.dtype, bundle.parts.unit_dims)
    lost = measured(bundle.parts, spec)

    def write(draft: Path) -> None:
        for what, vectors in chosen.items():
            write_vectors(vectors, draft / what, packing=packing, rows_per_file=spec.rows_per_file)

    folder = publish(
        Path(spec.out),
        "export",
        write,
        name=f"{utc_now():%Y-%m-%d_%H%M%S}_export",
        bytes_needed=sum(BYTES[spec.dtype] * one.vectors.size for one in chosen.values()),
        parents={"bundle": bundle.manifest.fingerprint},
        counts={what: len(vectors.ids) for what, vectors in chosen.items()},
        watermark=bundle.parts.watermark,
        decided_at=bundle.parts.decided_at,
        extra={
            "unit_dims": bundle.parts.unit_dims,
            "dim": bundle.parts.sales.dim,
            "model": bundle.parts.sales.fingerprint,
            "dtype": spec.dtype,
            "loss": plain(lost, spec) if lost else None,
        },
    )
    for what, vectors in chosen.items():
        console.fact(what, f"{len(vectors.ids):,} vectors of {vectors.dim} numbers, {spec.dtype}")
    if lost:
        console.fact("lost", told(lost))
    console.fact("export", f"{os.path.relpath(folder)}")
    console.line("next")
    console.line(f"  pl.read_parquet('{os.path.relpath(folder)}/{next(iter(chosen))}/*.parquet')")


def measured(parts: BundleParts, spec: Export) -> Loss | None:
    """Return what the vectors that are written lose by their rounding; None for float32.

    Raises:
        GateError: it is more than `max_loss`.
    """
    if spec.dtype == "fp32":
        return None
    members = parts.members.vectors
    some = np.sort(tie_order(np.arange(len(members)), seed=0)[:SAMPLE])
    rounded: Rounding = Packing(spec.dtype, parts.unit_dims).rounded
    lost = loss(
        members[some],
        parts.sales.vectors,
        of_members=rounded if "members" in spec.what else _exact,
        of_sales=rounded if "sales" in spec.what else _exact,
    )
    if lost.worst > spec.max_loss:
        finer = "fp16" if spec.dtype == "int8" else "fp32"
        raise GateError(
            f"{spec.dtype} vectors lose more than max_loss={spec.max_loss:g} allows",
            f"found: {told(lost)}",
            f"write dtype={finer}, or allow it: max_loss={math.ceil(lost.worst * 1000) / 1000:g}",
        )
    return lost


def told(lost: Loss) -> str:
    """Say what rounded vectors lose."""
    shares = ", ".join(f"{share:.2%} of the {k} best" for k, share in lost.recall.items())
    return f"{shares}; scores off by {lost.score_error:.2g} at most ({lost.members:,} members)"


def plain(lost: Loss, spec: Export) -> Mapping[str, JSON]:
    """Return what is lost as the manifest keeps it."""
    shares = {f"recall_at_{k}": share for k, share in lost.recall.items()}
    error = lost.score_error
    return {**shares, "score_error": error, "members": lost.members, "max_loss": spec.max_loss}


def write_vectors(
    vectors: Embeddings, folder: Path, *, packing: Packing, rows_per_file: int
) -> None:
    """Write vectors into files of at most so many rows, in the order of the bundle."""
    folder.mkdir()
    for number, first in enumerate(range(0, max(len(vectors.ids), 1), rows_per_file)):
        rows = slice(first, first + rows_per_file)
        packing.frame(vectors, rows).write_parquet(folder / f"part-{number:05}.parquet")


def _exact(vectors: np.ndarray) -> np.ndarray:
    return vectors
