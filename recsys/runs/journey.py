"""One training run from its first line to its last: folder, console, record of how it ended."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from recsys.domain.errors import (
    InterruptedRunError,
    MissingArtefactError,
    RecsysError,
    SettingError,
)
from recsys.runs.console import Console, clock
from recsys.runs.folder import RunFolder, find, same_settings, start, unfinished, utc_now, version
from recsys.runs.spec import Train


@dataclass(frozen=True)
class Journey:
    """A run that is under way."""

    folder: RunFolder
    console: Console
    resumed: bool

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    def on_data(self, fingerprint: str) -> None:
        """Note which data the run learns from.

        Raises:
            SettingError: the run that is resumed had other data.
        """
        before = self.folder.facts().get("data_fingerprint")
        if before not in {None, fingerprint}:
            raise SettingError(
                f"{self.folder.shown} learned from data {before}, these are {fingerprint}",
                "start a new run: leave out resume=...",
            )
        self.folder.record(data_fingerprint=fingerprint)


@contextmanager
def embark(spec: Train) -> Generator[Journey, None, None]:
    """Open the run's folder, new or resumed, and write into run.json however the block ends."""
    started = perf_counter()
    folder, resumed = folder_for(spec)
    console = Console(folder.path / "log.txt", quiet=spec.quiet)
    greet(console, folder, resumed=resumed)
    if spec.resume and not resumed:
        console.fact("resume", "no unfinished run has these settings: this is a new one")
    journey = Journey(folder, console, resumed)
    try:
        yield journey
    except InterruptedRunError as stopped:
        ended(folder, "interrupted", code=stopped.signal_code, since=started)
        raise InterruptedRunError(
            str(stopped),
            f"go on: python train.py resume={folder.shown}",
            signal_code=stopped.signal_code,
        ) from stopped
    except RecsysError as refused:
        ended(folder, "failed", code=refused.code, since=started, error=str(refused))
        raise
    except BaseException as bug:
        (folder.path / "error.txt").write_text("".join(traceback.format_exception(bug)), "utf-8")
        ended(folder, "failed", code=1, since=started, error=f"{type(bug).__name__}: {bug}")
        raise
    ended(folder, "done", code=0, since=started)
    console.line(f"done in {clock(perf_counter() - started)}")


def folder_for(spec: Train) -> tuple[RunFolder, bool]:
    """Return the folder of a run and whether it was there before (RULINGS 13).

    Raises:
        MissingArtefactError: `resume` names no run.
        SettingError: the run named was made with other settings.
    """
    root = Path(spec.runs_dir)
    if spec.resume == "auto":
        found = unfinished(spec, root)
        if found is not None:
            return found, True
    elif spec.resume is not None:
        found = find(spec.resume, root)
        same_settings(found, spec)
        return found, True
    return start(spec, root=root, name=spec.name, now=utc_now()), False


def greet(console: Console, folder: RunFolder, *, resumed: bool) -> None:
    """Print the first two lines: what this is, where it writes, what it runs on."""
    console.line(f"recsys {version()}   {folder.shown}        Ctrl-C once: save and stop")
    if resumed:
        console.fact("resumed", f"status was {folder.facts()['status']}")
        folder.record(status="running")


def ended(folder: RunFolder, status: str, *, code: int, since: float, error: str = "") -> None:
    """Record how a run ended."""
    folder.record(
        status=status,
        exit_code=code,
        seconds=round(perf_counter() - since, 1),
        error=error,
        ended_at=utc_now().isoformat(timespec="seconds"),
    )


def plan(spec: Train) -> None:
    """Print what a run would do and check that there is room for it; write nothing.

    Raises:
        MissingArtefactError: `resume` names no run.
    """
    console = Console()
    console.line(f"recsys {version()}   dry run: nothing is written")
    console.fact("data", spec.data.kind)
    console.fact(
        "towers",
        f"{spec.towers.kind}, {spec.towers.dim} dimensions, {spec.towers.epochs} epochs at most",
    )
    console.fact("trainer", spec.trainer.kind)
    console.fact("slates", f"{spec.rerank.kind}, {spec.rerank.slots} slots")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free = shutil.disk_usage(existing(Path(spec.runs_dir))).free
    console.fact(
        "machine", f"{cores} cores, {free / 1024**3:.1f} GiB free, python {sys.version.split()[0]}"
    )
    if spec.resume not in {None, "auto"}:
        find(str(spec.resume), Path(spec.runs_dir))
    would = "resume" if spec.resume and unfinished(spec, Path(spec.runs_dir)) else "make"
    console.fact(
        "writes", f"would {would} a folder in {spec.runs_dir}/ and a bundle in {spec.bundles_dir}/"
    )


def existing(path: Path) -> Path:
    """Return the nearest folder above a path that is there.

    Raises:
        MissingArtefactError: there is none, not even the root.
    """
    for folder in (path, *path.absolute().parents):
        if folder.is_dir():
            return folder
    raise MissingArtefactError(f"no folder above {path}")
