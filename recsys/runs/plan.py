"""A dry run: what would be done, checked as far as that goes without writing anything."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from recsys.domain.errors import MissingArtefactError, NoRoomError
from recsys.domain.tables import Tables
from recsys.runs.console import Console
from recsys.runs.earlier import earlier
from recsys.runs.folder import find, unfinished, version
from recsys.runs.prepare import raw
from recsys.runs.spec import Train
from recsys.runs.tell import device_text
from recsys.towers.device import resolve
from recsys.towers.loggers import installed
from recsys.world.spec import FlashSales

GIB = 1024**3
FLOAT = 4
CHECKPOINTS = 4
"""Of a training, at a time: the newest two, the best, and the one that is being written."""
STATE = 3
"""Numbers a checkpoint keeps of each weight: itself and the optimiser's two moments."""
FIELDS = 8
"""Rows of the table of weights that a member or a sale brings, at most as a rule."""
REPORT = 64 << 20
"""Room for the report, the encoders and what is told; that of the demo takes a tenth."""


def plan(spec: Train) -> None:
    """Print what a run would do; its data are read, its device is found, its room is measured.

    Raises:
        MissingArtefactError: `resume` or `warm_start` names no run.
        DeviceError: the device asked for is not on this machine.
        DataRefusedError, SettingError: the data are not there or cannot be read; the logger asked
            for is not installed.
        NoRoomError: the disk does not hold what would be made.
    """
    installed(spec.trainer)
    console = Console()
    console.line(f"recsys {version()}   dry run: nothing is written")
    if spec.resume not in {None, "auto"}:
        find(str(spec.resume), Path(spec.runs_dir))
    console.fact("device", f"{device_text(resolve(spec.trainer))}, python {sys.version.split()[0]}")
    members, sales = audience(console, spec)
    console.fact(
        "towers",
        f"{spec.towers.kind}, {spec.towers.dim} dimensions, {spec.towers.epochs} epochs at most",
    )
    start = earlier(spec)
    if start:
        console.fact("warm", f"starts from the towers and encoders of {start.run}")
    console.fact("slates", f"{spec.rerank.kind}, {spec.rerank.slots} slots")
    room(console, spec, vectors=members + sales)
    would = "resume" if spec.resume and unfinished(spec, Path(spec.runs_dir)) else "make"
    console.fact(
        "writes", f"would {would} a folder in {spec.runs_dir}/ and a bundle in {spec.bundles_dir}/"
    )


def audience(console: Console, spec: Train) -> tuple[int, int]:
    """Say what the source holds; return how many members and sales that is, at most."""
    if isinstance(spec.data, FlashSales):
        members, days = spec.data.num_members, spec.data.num_days
        console.fact("data", f"flash_sales, to be played: {members:,} members, {days} days")
        return members, days * spec.data.sales_a_day
    tables, _ = raw(spec.data)
    members, sales = ids(tables, "member"), ids(tables, "sale")
    console.fact(
        "data",
        f"{tables.name}: {members:,} members, {sales:,} sales, {tables.events.height:,} events",
        "read, not held to the contract: recsys check does that",
    )
    return members, sales


def ids(tables: Tables, column: str) -> int:
    """Count the different ids of a table's column, in the events and in the table itself."""
    named = tables.members if column == "member" else tables.sales
    told = 0 if named is None else named[column].n_unique()
    return max(told, int(tables.events[column].n_unique()))


def room(console: Console, spec: Train, *, vectors: int) -> None:
    """Compare the free disk with what is written: checkpoints, then the vectors and the index.

    Raises:
        NoRoomError: one of the two folders lies on a disk with less.
    """
    weights = min(2**spec.towers.table_bits, FIELDS * vectors) * spec.towers.dim
    run = (1 + spec.towers.refit) * CHECKPOINTS * STATE * FLOAT * weights + REPORT
    # the vectors, their copies in the index, and what is known of each member beside them
    bundle = 3 * FLOAT * vectors * spec.towers.dim
    for made, folder, needed in (
        ("run", Path(spec.runs_dir), run),
        ("bundle", Path(spec.bundles_dir), bundle),
    ):
        free = shutil.disk_usage(existing(folder)).free
        if free < needed:
            raise NoRoomError(
                f"{folder}: {free / GIB:.2f} GiB free, a {made} may take {needed / GIB:.2f}",
                f"free some, or name another folder: {made}s_dir=PATH",
            )
        console.fact("room", f"{made}: up to {needed / GIB:.2f} GiB of {free / GIB:.1f} free")


def existing(path: Path) -> Path:
    """Return the nearest folder above a path that is there.

    Raises:
        MissingArtefactError: there is none, not even the root.
    """
    for folder in (path, *path.absolute().parents):
        if folder.is_dir():
            return folder
    raise MissingArtefactError(f"no folder above {path}")
