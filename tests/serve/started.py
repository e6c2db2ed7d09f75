"""A service in a process of its own that is gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recsys.serve.spec import Serve

HERE = Path(__file__).parents[2]
SCRIPT = """
import json, sys
from recsys.serve.run import serve
from recsys.serve.spec import Serve
def ready(listening):
    heavy = sorted({"torch", "pytorch_lightning", "hydra"} & set(sys.modules))
    print(json.dumps({"url": listening.url, "heavy": heavy}), flush=True)
serve(Serve.model_validate_json(sys.argv[1]), ready=ready)
"""


class Process:
    """The service in a process of its own."""

    def __init__(self, spec: Serve) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, spec.model_dump_json()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=HERE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            text=True,
        )
        assert self.child.stdout is not None
        said = json.loads(self.child.stdout.readline())
        self.url, self.heavy = said["url"], said["heavy"]

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, list[dict[str, Any]]]:
        """Send a signal; return the exit code and the log."""
        self.child.send_signal(number)
        _, log = self.child.communicate(timeout=30)
        return self.child.returncode, [json.loads(line) for line in log.splitlines()]


@contextmanager
def started(spec: Serve) -> Generator[Process]:
    """Start it, and end it however the block ends."""
    process = Process(spec)
    try:
        yield process
    finally:
        process.child.kill()
        for pipe in (process.child.stdout, process.child.stderr):
            if pipe is not None:
                pipe.close()
        process.child.wait()


@contextmanager
def running(root: Path, **more: Any) -> Generator[Process]:
    """Start it on the bundles of a folder; what it is told is kept beside them."""
    spec = Serve(bundles_dir=str(root), feedback=str(root / "feedback"), port=0, poll_seconds=0.05)
    with started(spec.model_copy(update=more)) as process:
        yield process


def send(url: str, said: bytes) -> bytes:
    """Send bytes as they are; return all that comes until the service closes."""
    host, _, port = url.removeprefix("http://").partition(":")
    heard = b""
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(said)
        while part := raw.recv(65_536):
            heard += part
    return heard
