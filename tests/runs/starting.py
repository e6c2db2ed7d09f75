"""Our own scripts in a process of their own, with the network cut off."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from threadpoolctl import threadpool_limits

from recsys.runs.cli import VERBS, run_task
from recsys.runs.guard import guarded
from recsys.runs.load import compose

ROOT = Path(__file__).resolve().parents[2]
TRAIN = str(ROOT / "train.py")
OFFLINE = """
import socket

def refused(*_args, **_kwargs):
    raise OSError("no network in this test")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refused
"""
"""Python runs a sitecustomize.py of its path before anything else."""
SMALL = (
    "data.size=small",
    "evaluate.bootstrap_draws=100",
    "evaluate.baselines=[random,popular]",
    "trainer.threads=1",
)
"""Settings of a whole run that takes seconds."""


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a process that cannot reach the network; one thread a library."""
    offline = folder / "offline"
    offline.mkdir(exist_ok=True)
    (offline / "sitecustomize.py").write_text(OFFLINE)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    return kept | {"PYTHONPATH": f"{offline}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}


def verb(folder: Path, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a verb in a folder inside this process, whose libraries are loaded already.

    One thread a library, as in a process of its own: the bits of sums depend on how many there are.
    """
    spec, home, _ = VERBS[name]
    out, err = StringIO(), StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(err), threadpool_limits(1):
        code = guarded(lambda: run_task(home, compose(name, spec, words)))
    return subprocess.CompletedProcess([name, *words], code, out.getvalue(), err.getvalue())


def begin(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start Python with some words in a folder."""
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def recsys(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a verb in a folder to its end."""
    return ended(begin(folder, "-m", "recsys", *words))


def train(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run train.py in a folder to its end."""
    return ended(begin(folder, TRAIN, *words))


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for a process and return how it ended and what it said."""
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something has happened, while a process runs."""
    until = time.monotonic() + 120
    while not happened():
        if process.poll() is not None or time.monotonic() > until:
            out, err = process.communicate()
            raise RuntimeError(f"it did not happen (exit {process.returncode})\n{out}\n{err}")
        time.sleep(0.005)


def only(folder: Path, pattern: str) -> Path:
    """Return the one path that matches, links apart."""
    (found,) = [path for path in folder.glob(pattern) if not path.is_symlink()]
    return found
