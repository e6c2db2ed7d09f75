"""A bundle's vectors as parquet that other programs read without our code."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from recsys.domain.artefact import publish
from recsys.domain.embeddings import Embeddings
from recsys.runs.console import Console
from recsys.runs.folder import utc_now
from recsys.runs.serve import opened
from recsys.runs.spec import Export


def export(spec: Export) -> None:
    """Write the vectors of members and sales, a few files each, as one verified folder.

    Columns: id (str), vector (fixed list of float32). The manifest names the bundle, the model,
    and how many of the first coordinates have length 1.

    Raises:
        ArtefactError: the bundle cannot be used.
        NoRoomError: the disk does not hold the vectors.
    """
    console = Console()
    bundle = opened(spec.bundle, spec.bundles_dir)
    tables = {"members": bundle.parts.members, "sales": bundle.parts.sales}
    chosen = {what: tables[what] for what in dict.fromkeys(spec.what)}

    def write(draft: Path) -> None:
        for what, vectors in chosen.items():
            write_vectors(vectors, draft / what, rows_per_file=spec.rows_per_file)

    folder = publish(
        Path(spec.out),
        "export",
        write,
        name=f"{utc_now():%Y-%m-%d_%H%M%S}_export",
        bytes_needed=sum(vectors.vectors.nbytes for vectors in chosen.values()),
        parents={"bundle": bundle.manifest.fingerprint},
        counts={what: len(vectors.ids) for what, vectors in chosen.items()},
        watermark=bundle.parts.watermark,
        decided_at=bundle.parts.decided_at,
        extra={
            "unit_dims": bundle.parts.unit_dims,
            "dim": bundle.parts.sales.dim,
            "model": bundle.parts.sales.fingerprint,
        },
    )
    for what, vectors in chosen.items():
        console.fact(what, f"{len(vectors.ids):,} vectors of {vectors.dim} numbers")
    console.fact("export", f"{os.path.relpath(folder)}")
    console.line("next")
    console.line(f"  pl.read_parquet('{os.path.relpath(folder)}/{next(iter(chosen))}/*.parquet')")


def write_vectors(vectors: Embeddings, folder: Path, *, rows_per_file: int) -> None:
    """Write vectors into files of at most so many rows, in the order of the bundle."""
    folder.mkdir()
    for number, first in enumerate(range(0, max(len(vectors.ids), 1), rows_per_file)):
        rows = slice(first, first + rows_per_file)
        frame_of(vectors, rows).write_parquet(folder / f"part-{number:05}.parquet")


def frame_of(vectors: Embeddings, rows: slice = slice(None)) -> pl.DataFrame:
    """Return vectors as a frame: id (str), vector (fixed list of float32)."""
    return pl.DataFrame({
        "id": pl.Series(vectors.ids[rows], dtype=pl.String),
        "vector": pl.Series(vectors.vectors[rows], dtype=pl.Array(pl.Float32, vectors.dim)),
    })
