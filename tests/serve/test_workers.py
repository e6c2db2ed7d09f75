from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from recsys.domain.dataset import Dataset
from recsys.serve.bundle import publish_bundle
from recsys.serve.client import Client
from tests.serve.conftest import parts_of
from tests.serve.started import Process, running
from tests.serve.test_run import KNOWN

SCRIPT = """
import sys, time
from recsys.serve.workers import Crew
from tests.serve.test_workers import works
crew = Crew(int(sys.argv[1]), works, said=lambda event, what: print(event, what, flush=True))
crew.keep(lambda: print("all ready", flush=True), patience=5.0)
print("ended", flush=True)
"""
HERE = Path(__file__).parents[2]


def works(number: int, says: Any) -> None:
    """Say so, then wait for a signal."""
    signal.signal(signal.SIGHUP, lambda *_: says.send("heard"))
    says.send(f"{number} is {os.getpid()}")
    while True:
        signal.pause()


class Crewed:
    """A crew in a process of its own; `told` are its lines so far."""

    def __init__(self, count: int) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(count)], stdout=subprocess.PIPE, text=True, cwd=HERE
        )
        self.told: list[str] = []

    def until(self, wanted: Callable[[str], bool]) -> str:
        assert self.child.stdout is not None
        for text in self.child.stdout:
            self.told.append(text.strip())
            if wanted(text):
                return text.strip()
        raise AssertionError(f"it ended: {self.told}")

    def pids(self) -> dict[str, int]:
        """Number of each worker that said so -> its process, the newest."""
        said = [text.split() for text in self.told if text.startswith("worker_ready")]
        return {words[1]: int(words[3]) for words in said}


@contextmanager
def crewed(count: int) -> Generator[Crewed]:
    crew = Crewed(count)
    try:
        yield crew
    finally:
        crew.child.kill()
        if crew.child.stdout is not None:
            crew.child.stdout.close()
        crew.child.wait()


def gone(pid: int) -> bool:
    """Whether a process ends within some seconds."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2][1] == "Z":
            return True
        time.sleep(0.02)
    return False


def is_ready(text: str) -> bool:
    return text.startswith("worker_ready")


@pytest.mark.slow
def test_one_that_dies_is_started_again_and_all_end_together() -> None:
    with crewed(2) as crew:
        crew.until(lambda text: text.startswith("all ready"))
        first = crew.pids()
        assert len(first) == 2
        time.sleep(1.0)
        os.kill(first["1"], signal.SIGKILL)
        assert "worker 1, exit code -9" in crew.until(lambda text: "died" in text)
        crew.until(is_ready)
        second = crew.pids()
        assert second["1"] != first["1"]
        assert second["2"] == first["2"]
        crew.child.send_signal(signal.SIGTERM)
        crew.until(lambda text: text.startswith("ended"))
        assert crew.child.wait(20) == 0
        assert all(gone(pid) for pid in second.values())
        assert crew.told.count("all ready") == 1


@pytest.mark.slow
def test_workers_end_when_the_process_that_started_them_is_killed() -> None:
    with crewed(2) as crew:
        crew.until(lambda text: text.startswith("all ready"))
        crew.child.kill()
        assert all(gone(pid) for pid in crew.pids().values())


def numbers(client: Callable[[], str], wanted: int) -> set[str]:
    """Ask on new connections until so many workers have answered."""
    seen: set[str] = set()
    until = time.monotonic() + 30
    while len(seen) < wanted and time.monotonic() < until:
        seen.add(client().split('worker="')[1][0])
    return seen


@pytest.mark.slow
def test_two_processes_answer_on_one_port_the_same_and_turn_to_a_new_bundle(
    root: Path, dataset: Dataset
) -> None:
    with running(root, workers=2, drain_grace_seconds=0.2) as service:
        assert numbers(lambda: metrics(service), 2) == {"1", "2"}
        answers = {json.dumps(ask(service), default=str) for _ in range(12)}
        assert len(answers) == 1
        name = publish_bundle(parts_of(dataset, seed=7), root).name
        until = time.monotonic() + 20
        while {generation(service) for _ in range(8)} != {name}:
            assert time.monotonic() < until, "a worker never turned"
        code, log = service.stop()
        assert code == 0
        assert [line["event"] for line in log].count("listening") == 1
        assert [line["event"] for line in log].count("reloaded") == 2
        assert log[-1]["event"] == "stopped"


def metrics(service: Process) -> str:
    """Return the metrics, asked on a connection of its own."""
    return httpx.get(f"{service.url}/metrics").text


def ask(service: Process) -> Any:
    client = Client(service.url, tries=1)
    try:
        return client.batch([KNOWN, "nobody"])
    finally:
        client.close()


def generation(service: Process) -> str:
    client = Client(service.url, tries=1)
    try:
        return str(client.ready()["generation"])
    finally:
        client.close()
