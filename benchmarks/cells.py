"""What one experiment with one seed gave: measured, kept as docs/cells/NAME-SEED.json."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from threading import Event, Thread
from time import perf_counter, process_time
from types import TracebackType
from typing import Annotated, Any, Self

import yaml
from pydantic import Field

from benchmarks.held import held_mb
from recsys.domain.report import Estimate
from recsys.domain.spec import Count, NonNegative, Spec
from recsys.runs.load import CONFIGS

CELLS = CONFIGS.parent / "docs" / "cells"
SLICES = ("all", "day0", "six_hours", "older", "first_contact", "repeat")
METRICS = re.compile(r"(recall|ndcg|hit)_at_\d+|mrr|auc")
STATUS = Path("/proc/self/status")
"""Where Linux tells what a process holds."""
Figures = dict[str, dict[str, Estimate]]
"""scorer -> slice/metric -> a mean over n requests with its 95 % interval by member."""


class Cost(Spec):
    """What a stretch of work took."""

    seconds: NonNegative
    """By the clock."""
    processor_seconds: NonNegative
    """All threads together."""
    peak_mb: NonNegative | None
    """Most anonymous memory of the process at one time, in 2^20 bytes; null where not told."""


class Cell(Spec):
    """One experiment with one seed."""

    experiment: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    seed: Annotated[int, Field(ge=0)]
    made_at: str
    """ISO 8601, UTC."""
    machine: str
    load: NonNegative | None
    """Processes that waited for a core in the minute before (the system's load average)."""
    commit: str
    written: str
    """Fingerprint of configs/experiment/NAME.yaml, comments left out."""
    settings: str
    """Fingerprint of all settings but seed, paths and names."""
    file: str
    """The file that holds the test."""
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    """Of that file."""
    requests: dict[str, int]
    """Requests of each block."""
    epochs: Count
    """Epochs that were trained."""
    best_epoch: Count
    """The one that validation chose."""
    reading: Cost
    training: Cost
    """Encoders, towers, value model."""
    judging: Cost
    """Fits of baselines, slates, all scorers on the test."""
    fits: dict[str, float]
    """Seconds that each baseline's fit took."""
    figures: Figures

    @property
    def name(self) -> str:
        """Name of the file that keeps it."""
        return f"{self.experiment}-{self.seed}.json"


class Meter:
    """Measures a stretch of work; `cost` is there when it is over."""

    cost: Cost

    def __init__(self, *, every: float = 0.02) -> None:
        """Look at the memory each `every` seconds."""
        self._every = every
        self._over = Event()
        self._peak = anonymous_mb()

    def __enter__(self) -> Self:
        """Start."""
        self._since, self._worked = perf_counter(), process_time()
        self._watch = Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop and note what it took."""
        seconds, worked = perf_counter() - self._since, process_time() - self._worked
        self._over.set()
        self._watch.join()
        self.cost = Cost(
            seconds=round(seconds, 2),
            processor_seconds=round(worked, 2),
            peak_mb=None if self._peak is None else round(self._peak, 1),
        )

    def _look(self) -> None:
        while self._peak is not None:
            self._peak = max(self._peak, anonymous_mb() or 0.0)
            if self._over.wait(self._every):
                return


def anonymous_mb() -> float | None:
    """Return the anonymous memory that the process holds now, in 2^20 bytes; None if untold.

    Files mapped into memory do not count: the system may take their pages away.
    """
    return held_mb(os.getpid()) if STATUS.is_file() else None


def machine(torch_version: str) -> str:
    """Say in words what computes: cores that this process may use, and versions."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    return f"{usable} CPU cores, {threads} threads, torch {torch_version}"


def load_now() -> float | None:
    """Return the load average of the last minute; None where the system has none."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def fingerprint(plain: Any) -> str:
    """Return 12 digits that tell plain data from other plain data."""
    return sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def names() -> list[str]:
    """Return the experiments there are: presets whose data are a public set."""
    return [file.stem for file in sorted(config_of("x").parent.glob("*.yaml")) if _public(file)]


def _public(file: Path) -> bool:
    chosen = yaml.safe_load(file.read_text(encoding="utf-8")).get("defaults", [])
    return any("override /data" in entry for entry in chosen)


def config_of(name: str) -> Path:
    """Return where the config of an experiment lies."""
    return CONFIGS / "experiment" / f"{name}.yaml"


def written(name: str) -> str:
    """Return the fingerprint of what an experiment's config says."""
    return fingerprint(yaml.safe_load(config_of(name).read_text(encoding="utf-8")))


def kept(scorers: Mapping[str, Mapping[str, Mapping[str, Estimate]]]) -> Figures:
    """Return the figures of a report that a cell keeps: rankings, on the slices that papers use."""
    return {
        scorer: {
            f"{where}/{metric}": rounded(found)
            for where in SLICES
            for metric, found in slices.get(where, {}).items()
            if METRICS.fullmatch(metric)
        }
        for scorer, slices in scorers.items()
    }


def rounded(found: Estimate) -> Estimate:
    """Return a figure to five digits."""
    low, high = round(found.low, 5), round(found.high, 5)
    return Estimate(value=round(found.value, 5), low=low, high=high, n=found.n)


def store(cell: Cell, folder: Path = CELLS) -> Path:
    """Write a cell whole or not at all; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / cell.name
    draft = folder / f".{cell.name}.{secrets.token_hex(4)}"
    with draft.open("w", encoding="utf-8") as file:
        json.dump(cell.model_dump(mode="json"), file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return path


def stored(folder: Path = CELLS) -> list[Cell]:
    """Read all cells, by experiment and seed.

    Raises:
        ValueError: a cell is damaged, or lies under another name than its own.
    """
    cells = []
    for path in sorted(folder.glob("*.json")):
        cell = Cell.model_validate_json(path.read_text(encoding="utf-8"))
        if cell.name != path.name:
            raise ValueError(f"{path.name} holds {cell.name}: run that cell again")
        cells.append(cell)
    return sorted(cells, key=lambda cell: (cell.experiment, cell.seed))


def together(cells: Iterable[Cell]) -> list[Cell]:
    """Return the cells that may be averaged: those with the settings and data of the newest."""
    newest = sorted(cells, key=lambda cell: cell.made_at)
    last = newest[-1:]
    return [c for c in newest if last and (c.settings, c.md5) == (last[0].settings, last[0].md5)]
