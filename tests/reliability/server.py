"""The service in a process of its own, and what it must answer.

Its log goes to a file, so that no full pipe holds it up.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from recsys.serve.spec import Serve
from tests.reliability.kept import parts
from tests.serve.asking import Service

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = parts(1).members.ids.tolist()
QUESTIONS: tuple[tuple[str, dict[str, object]], ...] = (
    ("/v1/recommend", {"member": MEMBERS[3], "slots": 4}),
    ("/v1/recommend/batch", {"members": [*MEMBERS[:4], "nobody"], "slots": 4}),
    ("/v1/similar", {"sale": "s0001", "k": 5, "scope": "archive"}),
    ("/v1/similar", {"member": MEMBERS[7], "k": 5}),
)
"""Asked under load: each answer holds scores of the bundle that it names."""


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    rss: int
    """Bytes of memory."""
    descriptors: int
    """Apart from those of files of bundles."""
    mapped: int
    """Files of bundles that are mapped into memory."""
    threads: int


class Server:
    """One process that serves the bundles of a folder, on a port of its own."""

    def __init__(self, folder: Path, bundles: Path, **settings: Any) -> None:
        """Begin to start it; log, and what it is told, go below `folder`."""
        # a machine on which others work is no fault of the service: nobody is told 504 for it
        words = {
            "poll_seconds": 0.02,
            "drain_grace_seconds": 0.3,
            "deadline_seconds": 60,
        } | settings
        feedback = str(folder / "feedback")
        spec = Serve(bundles_dir=str(bundles), feedback=feedback, port=0, **words)
        self._bundles = f"{bundles.resolve()}/"
        self._log = folder / "log.txt"
        self._began = time.monotonic()
        with self._log.open("ab") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "tests.reliability.served", spec.model_dump_json()],
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        self.port = 0
        self.seconds = 0.0
        """From the start of the process until it listened, libraries included."""

    def ready(self) -> Server:
        """Wait until it listens."""
        if not self.port:
            assert self.child.stdout is not None
            line = self.child.stdout.readline()
            assert line, self._log.read_text()[-2000:]
            self.port, self.seconds = json.loads(line), time.monotonic() - self._began
        return self

    def log(self) -> list[dict[str, Any]]:
        """Return all that servers of this folder have logged, whole lines."""
        lines = self._log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def held(self) -> Held:
        """Return what the process holds now."""
        there = Path("/proc", str(self.child.pid))
        if not there.exists():
            pytest.skip("the system has no /proc that says what a process holds")
        names = list(map(_target, (there / "fd").iterdir()))
        mapped = sum(name.startswith(self._bundles) for name in names)
        pages = int((there / "statm").read_text().split()[1])
        return Held(
            rss=pages * os.sysconf("SC_PAGE_SIZE"),
            descriptors=len(names) - mapped,
            mapped=mapped,
            threads=len(list((there / "task").iterdir())),
        )

    def workers(self) -> list[int]:
        """Return the processes that answer, where there are several."""
        children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children")
        if not children.exists():
            pytest.skip("the system has no /proc that says what a process has started")
        return [int(one) for one in children.read_text().split() if b"spawn_main" in _words(one)]

    def end(self, number: int = signal.SIGKILL) -> int:
        """Send a signal, by default kill -9; return the exit code."""
        self.child.send_signal(number)
        return self.wait()

    def wait(self, seconds: float = 60) -> int:
        """Wait for the end; return the exit code."""
        try:
            return self.child.wait(seconds)
        finally:
            self.child.kill()
            self.child.wait()
            if self.child.stdout is not None:
                self.child.stdout.close()


def _target(descriptor: Path) -> str:
    """Return what a descriptor is of; nothing where it has been closed meanwhile."""
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""


def _words(pid: str) -> bytes:
    """Return what a process was started with; nothing where it has ended meanwhile."""
    try:
        return Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return b""


@contextmanager
def running(folder: Path, bundles: Path, **settings: Any) -> Generator[Server]:
    """Serve inside the block."""
    server = Server(folder, bundles, **settings)
    try:
        yield server.ready()
    finally:
        server.end()


def right(bundle: Path) -> Sequence[dict[str, Any]]:
    """Return the answers to all questions that a bundle gives where nothing else is served."""
    service = Service(bundle.parent, bundle=bundle.name)
    return [without_id(service.post(path, **asked).json()) for path, asked in QUESTIONS]


def without_id(said: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without the one field that is never the same."""
    return {name: value for name, value in said.items() if name != "request_id"}
