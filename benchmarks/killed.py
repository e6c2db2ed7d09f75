"""Does a training that is ended anywhere go on to the same bits: python -m benchmarks.killed.

Trainings on the small built-in shop, a checkpoint every other step, are ended by a signal at
moments drawn from one printed seed, gone on with, ended again, up to five times, and at last
finished. All tensors of their last and their best checkpoint are compared with those of a training
that nothing ended. Half of them lie in the system's temporary folder, half on another file system.

    python -m benchmarks.killed [--moments N] [--seed N] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Event
from pathlib import Path

from benchmarks import training
from recsys.domain.artefact import open_artefact
from recsys.domain.errors import InterruptedRunError
from recsys.domain.stop import StopFlag
from recsys.towers.fit import fit
from recsys.towers.job import TowerJob
from recsys.towers.spec import Cpu, TwoTower
from recsys.world.spec import FlashSales

ELSEWHERE = ("/dev/shm", "/run/shm")  # ruff: ignore[hardcoded-temp-file]  # only looked at, then a folder of our own
"""File systems that are not the temporary folder's, as a rule."""
CODES = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143}
EACH = 5
"""Ends of one training, at most."""
EPOCHS = 6
LAST = f"step-*-epoch-{EPOCHS:04d}"
"""The checkpoint at the end of a training."""
CONTEXT = get_context("forkserver")
"""Each training is a process of its own, the libraries are loaded once."""
LIBRARIES = ["recsys.data.encode", "recsys.runs.prepare", "recsys.towers.fit"]
_PATIENCE = 120.0
"""Seconds until a process must have begun."""


def job_of(folder: Path) -> TowerJob:
    """Make a training of some seconds, as train.py would."""
    towers = TwoTower(dim=16, table_bits=12, epochs=EPOCHS, patience=0)
    job = training.job_of(FlashSales(size="small", members=600), towers, folder)
    return replace(job, trainer=Cpu(threads=1, save_every_steps=2))


def train(job: TowerJob, listens: Event) -> None:
    """Train in this process, and end it as train.py does: asked to stop, it says so at its end."""
    with StopFlag().listening() as stop:
        listens.set()
        with suppress(InterruptedRunError):
            fit(replace(job, stop=stop))
        # at once, for what Python does on its way out hears no signal
        os._exit(stop.exit_code)


def begun(job: TowerJob) -> ForkServerProcess:
    """Start a training, or go on with the one that is there; return when it hears signals."""
    listens = CONTEXT.Event()
    process = CONTEXT.Process(target=train, args=(job, listens))
    process.start()
    listens.wait(_PATIENCE)
    return process


def drafts(job: TowerJob) -> set[str]:
    """Name the checkpoints that are being written, or that a dead maker left."""
    return {path.name for path in job.checkpoints.glob(".draft-*[!k]")}


def ended(job: TowerJob, number: signal.Signals, *, after: float, saving: bool) -> int | None:
    """Begin a training, or go on, and end it `after` seconds; return its exit code.

    With `saving` it is ended when a checkpoint is seen being written after that. None = it was over
    before, and well.
    """
    old, process, since = drafts(job), begun(job), time.perf_counter()
    while process.exitcode is None:
        late = time.perf_counter() - since >= after
        if late and (not saving or drafts(job) - old):
            os.kill(int(process.pid or 0), number)
            # looked for after the signal: without it the training was under way and must hear
            done = any(job.checkpoints.glob(LAST))
            process.join()
            # one that had nothing left to do may be gone before it hears
            return None if done and process.exitcode == 0 else process.exitcode
        time.sleep(0.0005)
    return process.exitcode or None


def finish(job: TowerJob) -> float:
    """Let a training come to its end; return its seconds.

    Raises:
        RuntimeError: it failed.
    """
    since, process = time.perf_counter(), begun(job)
    process.join()
    if process.exitcode:
        raise RuntimeError(f"a training ended with {process.exitcode}")
    return time.perf_counter() - since


def weights(job: TowerJob) -> dict[str, str]:
    """Return the hash of all tensors of the checkpoints at the ends of epochs, verified."""
    kept = job.checkpoints.glob(LAST)
    state = json.loads((next(kept) / "state.json").read_text(encoding="utf-8"))
    place = dict(dict(state["dict"])["place"]["dict"])
    names = (place["best_name"], f"step-{place['total']:08d}-epoch-{EPOCHS:04d}")
    made = {name: open_artefact(job.checkpoints / name, "checkpoint") for name in names}
    return {name: one.files["tensors.safetensors"].sha256 for name, one in made.items()}


@dataclass
class Trial:
    """Trainings that are ended by one signal in one place, and what that came to."""

    promise: str
    number: signal.Signals
    where: Path | None
    """None = there is no other file system."""
    saving: bool = False
    moments: int = 0
    broken: int = 0
    """Of these, how many left a half-written checkpoint behind."""
    finished: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def result(self) -> str:
        """Say how many trainings came to other weights, or what else went wrong."""
        said = f"0 of {self.finished} differ" if self.finished else "not shown"
        return "; ".join(self.faults) or said

    def go(self, job: TowerJob, moments: int, *, rng: random.Random, seconds: float) -> None:
        """End trainings at so many moments; `job` is one that is done, in `seconds`."""
        while self.where is not None and self.moments < moments:
            with tempfile.TemporaryDirectory(dir=self.where) as folder:
                mine, left = replace(job, folder=Path(folder)), min(EACH, moments - self.moments)
                # one that is over before its moments are is finished too
                while left and self.strike(mine, rng.uniform(0, seconds)):
                    left -= 1
                finish(mine)
                self.finished += 1
                if weights(mine) != weights(job):
                    self.faults.append(f"training {self.finished} has other weights")

    def strike(self, job: TowerJob, after: float) -> bool:
        """End a training once; return whether it was under way."""
        code = ended(job, self.number, after=after, saving=self.saving)
        if code is None:
            return False
        self.moments += 1
        self.broken += bool(drafts(job))
        if code != CODES[self.number]:
            self.faults.append(f"moment {self.moments}: exit code {code}")
        return True


def elsewhere() -> Path | None:
    """Return a folder on another file system than the temporary one, if there is any."""
    here = Path(tempfile.gettempdir()).stat().st_dev
    found = (Path(name) for name in ELSEWHERE)
    return next((p for p in found if os.access(p, os.W_OK) and p.stat().st_dev != here), None)


def trials() -> Iterator[Trial]:
    """Return what is tried: each kind of end, here and on another file system."""
    for place, where in (("", Path(tempfile.gettempdir())), (", other file system", elsewhere())):
        yield Trial(f"kill -9 at any moment{place}", signal.SIGKILL, where)
        yield Trial(f"kill -9 in a save{place}", signal.SIGKILL, where, saving=True)
        yield Trial(f"SIGTERM at any moment{place}", signal.SIGTERM, where)


def measure(moments: int, seed: int) -> Iterator[Trial]:
    """End trainings at `moments` moments for each kind of end; return trials as they are over."""
    CONTEXT.set_forkserver_preload(LIBRARIES)
    with tempfile.TemporaryDirectory() as folder:
        job = job_of(Path(folder))
        finish(replace(job, folder=Path(folder, "warm")))
        seconds = finish(job)
        for number, trial in enumerate(trials()):
            part = moments - moments // 2 if number < 3 else moments // 2
            rng = random.Random(f"{seed} {trial.promise}")
            trial.go(job, part, rng=rng, seconds=seconds)
            yield trial


def main() -> int:
    """Print one table, and one line of JSON; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=25, help="for each kind of end")
    parser.add_argument("--seed", type=int, default=1, help="draws the moments")
    parser.add_argument("--quick", action="store_true", help="two moments of each kind")
    asked = parser.parse_args()
    print(f"seed {asked.seed}\n")
    print("| ended by | moments | half a checkpoint left | weights at the end |")
    print("|---|---|---|---|")
    rows, broken = [], False
    for t in measure(2 if asked.quick else asked.moments, asked.seed):
        print(f"| {t.promise} | {t.moments} | {t.broken} | {t.result} |", flush=True)
        rows.append({"name": t.promise, "value": t.moments, "unit": "moments", "said": t.result})
        broken |= bool(t.faults)
    print(json.dumps({"benchmark": "killed", "seed": asked.seed, "rows": rows}))
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
