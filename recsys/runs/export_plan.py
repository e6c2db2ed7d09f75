"""What an export is made of: a verified bundle, the files it is dealt into, their bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys.domain.arrays import I64
from recsys.domain.artefact import open_artefact
from recsys.domain.ledger import ShardPlan
from recsys.domain.manifest import JSON, Manifest
from recsys.domain.packed import BYTES, SCALES, Packing
from recsys.runs.export_shards import (
    Table,
    What,
    by_key,
    by_row,
    deal,
    files_for,
    name_of,
    table_of,
)
from recsys.runs.folder import git_state, version, versions
from recsys.runs.serve import folder_of, ways_out
from recsys.runs.spec import Export

ID_BYTES = 24
"""Room for an id, as a rule."""


@dataclass(frozen=True)
class Source:
    """A verified bundle of which only the vectors are looked at, and those stay on the disk."""

    manifest: Manifest
    members: Table
    sales: Table

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return int(self.sales.mapped().shape[1])

    def table(self, what: What) -> Table:
        """Return the vectors of members or of sales."""
        return self.members if what == "members" else self.sales

    def rows(self, what: What) -> int:
        """Return how many there are."""
        return len(self.table(what).mapped())


def opened(spec: Export) -> Source:
    """Verify the bundle, every byte of it.

    Raises:
        ArtefactError: there is none, or it cannot be used; the text says what to type.
    """
    with ways_out("bundle"):
        folder = folder_of(spec.bundle, spec.bundles_dir)
        manifest = open_artefact(folder, "bundle")
    return Source(
        manifest, table_of(folder, manifest, "members"), table_of(folder, manifest, "sales")
    )


def asked(spec: Export) -> tuple[What, ...]:
    """Return what is to be written, each once."""
    return tuple(dict.fromkeys(spec.what))


def files_of(source: Source, spec: Export, what: What) -> int:
    """Return how many files members or sales are dealt into."""
    rows = source.rows(what)
    if what == "sales":
        return max(1, math.ceil(rows / spec.rows_per_file))
    return spec.member_files or files_for(rows, source.dim, spec.rows_per_file)


def plan_of(source: Source, spec: Export) -> ShardPlan:
    """Return the files to be made, and all that their bytes depend on."""
    files: dict[str, JSON] = {what: files_of(source, spec, what) for what in asked(spec)}
    return ShardPlan(
        kind="export",
        facts={
            "bundle": source.manifest.fingerprint,
            "dtype": spec.dtype,
            "files": files,
            "rows_per_file": spec.rows_per_file if "sales" in files else None,
            "recsys": version(),
            "code": git_state(),
            "libraries": versions(),
        },
        shards=tuple(
            name_of(what, number)
            for what in asked(spec)
            for number in range(files_of(source, spec, what))
        ),
    )


def packing(source: Source, spec: Export) -> Packing:
    """Return how the numbers are written."""
    return Packing(spec.dtype, source.sales.unit_dims)


def bytes_of(source: Source, spec: Export) -> int:
    """Return how many bytes all files have, at most as a rule."""
    each = source.dim * BYTES[spec.dtype] + SCALES[spec.dtype] + ID_BYTES
    return each * sum(source.rows(what) for what in asked(spec))


def deal_missing(source: Source, spec: Export, folder: Path, *, missing: Sequence[str]) -> None:
    """Note which rows go into the files that are still to be made, in the folder of a ledger."""
    for what in asked(spec):
        left = [shard for shard in missing if shard.startswith(f"{what}/")]
        if left:
            ids = source.table(what).read_ids()
            deal(ids, _file_of(source, spec, ids, what=what), folder, shards=left)


def _file_of(source: Source, spec: Export, ids: pl.Series, *, what: What) -> I64:
    if what == "sales":
        return by_row(len(ids), spec.rows_per_file)
    return by_key(ids, files_of(source, spec, what))
