"""One training run from its first line to its last: folder, console, record of how it ended."""

from __future__ import annotations

import traceback
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from recsys.domain.errors import InterruptedRunError, RecsysError, SettingError
from recsys.runs import facts
from recsys.runs.console import Console, clock
from recsys.runs.folder import RunFolder, find, same_settings, start, unfinished, utc_now, version
from recsys.runs.guard import code_of
from recsys.runs.spec import Train
from recsys.runs.tell import device_text
from recsys.towers.device import Device, resolve
from recsys.towers.loggers import installed


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

    def note(self, text: str) -> None:
        """Print a line that belongs to no table, and keep it in run.json."""
        self.console.line(text)
        self.folder.record(said=[*self.folder.facts().get("said", []), text])


@contextmanager
def embark(
    spec: Train, *, again: str = "python train.py resume={folder}"
) -> Generator[Journey, None, None]:
    """Open the run's folder, new or resumed, and write into run.json however the block ends.

    `again` is what goes on with the run where a signal stopped it.

    Raises:
        DeviceError: the device asked for is not on this machine; no folder is made.
        SettingError: nor is one made where the logger asked for is not installed; or another
            process makes the run that `resume` names.
    """
    started = perf_counter()
    installed(spec.trainer)
    device = resolve(spec.trainer)
    folder, resumed = folder_for(spec)
    with folder.held():
        journey = Journey(folder, Console(folder.path / "log.txt", quiet=spec.quiet), resumed)
        with _end_written(journey, again=again, since=started):
            greet(journey, device)
            if spec.resume and not resumed:
                journey.note("  resume   no unfinished run has these settings: this is a new one")
            yield journey


@contextmanager
def _end_written(journey: Journey, *, again: str, since: float) -> Generator[None, None, None]:
    """Write into run.json how the block ends."""
    folder = journey.folder
    try:
        yield
    except InterruptedRunError as stopped:
        ended(folder, "interrupted", code=stopped.signal_code, since=since)
        raise InterruptedRunError(
            str(stopped),
            f"go on: {again.format(folder=folder.shown)}",
            signal_code=stopped.signal_code,
        ) from stopped
    except RecsysError as refused:
        ended(folder, "failed", code=refused.code, since=since, error=str(refused))
        raise
    except BaseException as bug:
        (folder.path / "error.txt").write_text("".join(traceback.format_exception(bug)), "utf-8")
        said = f"{type(bug).__name__}: {bug}"
        ended(folder, "failed", code=code_of(bug), since=since, error=said)
        raise
    else:
        journey.console.line(f"done in {clock(ended(folder, 'done', code=0, since=since))}")


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


def greet(journey: Journey, device: Device) -> None:
    """Print the first lines: what this is, where it writes, what it goes on with and runs on."""
    console, folder = journey.console, journey.folder
    console.line(f"recsys {version()}   {folder.shown}        Ctrl-C once: save and stop")
    if journey.resumed:
        before, epochs = folder.facts()["status"], epochs_saved(folder.path)
        since = f"goes on after epoch {epochs}" if epochs else "no checkpoint yet: from the start"
        journey.note(f"  resumed  status was {before}; {since}")
        folder.record(status="running")
    console.fact("device", device_text(device))
    folder.record(device=facts.of_device(device))


def epochs_saved(folder: Path) -> int:
    """Return how many epochs the newest checkpoint of a run has behind it; 0 without one."""
    kept = (folder / "checkpoints").glob("step-*-epoch-*/manifest.json")
    return max((int(path.parent.name.rpartition("-")[2]) for path in kept), default=0)


def ended(folder: RunFolder, status: str, *, code: int, since: float, error: str = "") -> float:
    """Record how a run ended; return the seconds it took."""
    seconds = round(perf_counter() - since, 1)
    folder.record(
        status=status,
        exit_code=code,
        seconds=seconds,
        error=error,
        ended_at=utc_now().isoformat(timespec="seconds"),
    )
    return seconds
