"""Services in processes of their own, held to one core, and what comes of asking them much."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess  # ruff: ignore[suspicious-subprocess-import]  # starts our own scripts
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep

import numpy as np

from benchmarks.flood import Heard, Plan, flood
from benchmarks.opening import SCRIPT, processor
from recsys.serve.front import iso

SECONDS = 3.0
"""Of a flood, after a second that is not measured."""


@dataclass(frozen=True)
class Service:
    """A process that answers, and where."""

    process: int
    port: int


@dataclass(frozen=True)
class Load:
    """What came of a flood."""

    heard: Heard
    processor: float
    """Seconds of the service's processor, the second before included."""

    def ms(self, share: float, status: int = 200) -> float:
        """Return a quantile of the waits for answers with a status."""
        waits = self.heard.waits.get(status, ())
        return 1000 * float(np.quantile(waits, share)) if waits else float("nan")

    @property
    def answered(self) -> int:
        """How many got what they asked for."""
        return len(self.heard.waits.get(200, ()))

    @property
    def others(self) -> int:
        """How many got anything else."""
        return sum(map(len, self.heard.waits.values())) - self.answered

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answered / self.heard.seconds


@contextmanager
def ours(bundles: Path, *, at: int) -> Generator[Service]:
    """Start the service for an instant (UTC us) and wait until it listens."""
    words = (f"serve.bundles_dir={bundles}", "serve.port=0", "serve.drain_grace_seconds=0")
    command = [sys.executable, str(SCRIPT), *words, f"serve.at={iso(at)}"]
    with subprocess.Popen(  # ruff: ignore[subprocess-without-shell-equals-true]  # our own script
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=bundles
    ) as child:
        try:
            said = next(said for said in child.stderr or () if '"listening"' in said)
            url = str(json.loads(said)["url"])
            yield _on_one_core(Service(child.pid, int(url.rpartition(":")[2])))
        finally:
            child.kill()


@contextmanager
def plain(vectors: np.ndarray, root: Path) -> Generator[Service]:
    """Start the tutorial's server and wait until it listens."""
    np.save(root / "vectors.npy", vectors)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.plain_server", f"{root}/vectors.npy", str(port)]
    with subprocess.Popen(command) as child:  # ruff: ignore[subprocess-without-shell-equals-true]  # our own module
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                sleep(0.05)
            yield _on_one_core(Service(child.pid, port))
        finally:
            child.kill()


def _on_one_core(service: Service) -> Service:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        for task in Path(f"/proc/{service.process}/task").iterdir():
            os.sched_setaffinity(int(task.name), cores[:1])
    return service


def asked(service: Service, file: Path, callers: int, *, rate: float | None = None) -> Load:
    """Ask for some seconds."""
    before = processor(service.process)
    heard = asyncio.run(flood(Plan(service.port, str(file), callers, SECONDS, rate)))
    return Load(heard, processor(service.process) - before)
