"""A bundle's vectors as parquet that other programs read without our code."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from recsys.domain.artefact import Facts
from recsys.domain.errors import GateError, NoRoomError
from recsys.domain.ledger import Ledger, ShardFact
from recsys.domain.manifest import JSON
from recsys.domain.stop import StopFlag
from recsys.domain.ties import tie_order
from recsys.retrieval.rounding import Loss, Rounding, loss
from recsys.runs.console import Console
from recsys.runs.executor import run
from recsys.runs.export_plan import (
    Source,
    asked,
    bytes_of,
    deal_missing,
    files_of,
    opened,
    packing,
    plan_of,
)
from recsys.runs.export_shards import Writing
from recsys.runs.extras import extra
from recsys.runs.folder import utc_now, version
from recsys.runs.progress import Progress
from recsys.runs.spec import Export

SAMPLE = 2000
"""Members over whom the loss of rounded vectors is measured, at most: drawn by a hash."""


def export(spec: Export) -> None:
    """Write the vectors of members and sales, many files each, as one verified folder.

    Columns: id (str), vector (fixed list), and for int8 scale (three float32). The manifest names
    the bundle, the model, how many of the first coordinates have length 1, and what rounded
    vectors lose. A run that was stopped, however, is gone on with by the same command.

    Raises:
        ArtefactError: the bundle cannot be used, or another process makes this export now.
        GateError: rounded vectors would lose more than `max_loss`; nothing is written.
        InterruptedRunError: a signal asked to stop; the files made stay.
        NoRoomError, DeviceError: the disk does not hold the vectors, or refused them.
        SettingError: the database or the cluster asked for cannot be used.
    """
    console = Console()
    source = opened(spec)
    database = (
        None if spec.to is None else extra("to_postgres", "adbc_driver_postgresql", "postgres")
    )
    lost = measured(source, spec)
    if spec.dry_run:
        dry(console, source, spec)
        return
    plan = plan_of(source, spec)
    with StopFlag().listening() as stop, Ledger.open(Path(spec.out), plan) as ledger:
        made(console, source, spec, ledger=ledger, stop=stop)
        folder = ledger.finish(
            name=f"{utc_now():%Y-%m-%d_%H%M%S}_export", **facts_of(source, spec, lost)
        )
    for what in asked(spec):
        of_each = f"{source.rows(what):,} vectors of {source.dim} numbers, {spec.dtype}"
        console.fact(what, of_each)
    if lost:
        console.fact("lost", told(lost))
    if database is not None:
        console.fact("tables", *database.fill(str(spec.to), spec.tables, folder))
    console.fact("export", f"{os.path.relpath(folder)}")
    console.line("next")
    console.line(f"  pl.read_parquet('{os.path.relpath(folder)}/{asked(spec)[0]}/*.parquet')")


def facts_of(source: Source, spec: Export, lost: Loss | None) -> Facts:
    """Return what the manifest says of the export."""
    known = source.manifest
    return {
        "parents": {"bundle": known.fingerprint},
        "counts": {what: source.rows(what) for what in asked(spec)},
        "watermark": known.watermark,
        "decided_at": known.decided_at,
        "extra": {
            "unit_dims": source.sales.unit_dims,
            "dim": source.dim,
            "model": source.sales.model,
            "dtype": spec.dtype,
            "files": {what: files_of(source, spec, what) for what in asked(spec)},
            "loss": plain(lost, spec) if lost else None,
        },
    }


def made(console: Console, source: Source, spec: Export, *, ledger: Ledger, stop: StopFlag) -> None:
    """Make the files that are not there whole.

    Raises:
        NoRoomError: the disk does not hold them.
        InterruptedRunError: a signal asked to stop; the files made stay.
    """
    done, total = rows_in(ledger.facts()), sum(source.rows(what) for what in asked(spec))
    missing = ledger.missing()
    has_room(Path(spec.out), bytes_of(source, spec) * (total - done) // max(total, 1))
    if done:
        console.fact(
            "found", f"{len(ledger.plan.shards) - len(missing)} files of an earlier run, whole"
        )
    deal_missing(source, spec, ledger.folder, missing=missing)
    writing = Writing(
        ledger.folder.resolve(), (source.members, source.sales), packing(source, spec)
    )
    progress = Progress(console, total, "vectors", before=done)
    for _, fact in run(spec.executor, writing, missing, stop=stop):
        progress(int(fact.said["rows"]))
    if (found := rows_in(ledger.facts())) != total:
        raise RuntimeError(f"{found:,} rows in all files, wanted {total:,}")


def rows_in(facts: Mapping[str, ShardFact]) -> int:
    """Return how many vectors some files hold."""
    return sum(int(fact.said["rows"]) for fact in facts.values())


def has_room(out: Path, needed: int) -> None:
    """Refuse to begin what the disk does not hold.

    Raises:
        NoRoomError: it has less than 1.1 x what is needed.
    """
    there = next(folder for folder in (out, *out.resolve().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if free < 1.1 * needed:
        raise NoRoomError(
            f"{out} has {free:,} bytes free, the export needs {int(1.1 * needed):,}",
            "free some space, or name another folder: out=FOLDER",
        )


def dry(console: Console, source: Source, spec: Export) -> None:
    """Say what would be written."""
    plan = plan_of(source, spec)
    there = Ledger.peek(Path(spec.out), plan)
    console.line(f"recsys {version()}   dry run: nothing is written")
    console.fact("bundle", f"{source.manifest.fingerprint}, made {source.manifest.made_at[:16]}")
    for what in asked(spec):
        console.fact(
            what,
            f"{source.rows(what):,} vectors of {source.dim} numbers, {spec.dtype}, "
            f"in {files_of(source, spec, what):,} files",
        )
    console.fact("bytes", f"{bytes_of(source, spec) / 1e6:,.1f} MB at most")
    console.fact("done", f"{len(there):,} of {len(plan.shards):,} files are there already")
    console.fact("out", f"a new folder below {os.path.relpath(spec.out)}")
    if spec.to is not None:
        console.fact("tables", f"{spec.tables}_* of {spec.to}")


def measured(source: Source, spec: Export) -> Loss | None:
    """Return what the vectors that are written lose by their rounding; None for float32.

    Raises:
        GateError: it is more than `max_loss`.
    """
    if spec.dtype == "fp32":
        return None
    members = source.members.mapped()
    some = np.sort(tie_order(np.arange(len(members)), seed=0)[:SAMPLE])
    rounded: Rounding = packing(source, spec).rounded
    lost = loss(
        np.asarray(members[some]),
        np.asarray(source.sales.mapped()),
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


def _exact(vectors: np.ndarray) -> np.ndarray:
    return vectors
