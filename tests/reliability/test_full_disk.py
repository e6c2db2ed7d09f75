"""Promise 12 on disks that are truly full: what libraries write themselves is refused as well."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reliability.conftest import Shown
from tests.reliability.figures import DRAWS, RELEASE, often
from tests.reliability.kept import EVERYTHING

ROOT = Path(__file__).resolve().parents[2]
POINTS = often(12, 100)
"""For each kind of artefact."""
pytestmark = pytest.mark.timeout(0 if RELEASE else 300)
MOUNTED = 'mount -t tmpfs -o size=2m none "$0" && exec "$@"'
"""A file system of 2 MiB that only this process and its children see."""


def filling(*before: str, folder: Path, way: str) -> dict[str, int]:
    """Fill a disk in a process of its own; return how often each kind was refused."""
    done = subprocess.run(
        [
            *before,
            *(sys.executable, "-m", "tests.reliability.filling"),
            *(str(folder), way, str(POINTS), str(DRAWS)),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, int] = json.loads(done.stdout)
    return said


def mounting(folder: Path) -> list[str]:
    """Return the words that start a process with a small file system at a folder."""
    unshare = shutil.which("unshare") or "unshare"
    rights = [] if os.geteuid() == 0 else ["--map-root-user"]
    return [unshare, "--mount", *rights, "sh", "-c", MOUNTED, str(folder)]


def check(counts: dict[str, int]) -> None:
    assert counts.keys() == {kept.name for kept in EVERYTHING}
    # a drawn number of bytes may be enough now and then
    assert all(count > POINTS // 2 for count in counts.values()), counts


def test_a_full_disk_leaves_what_stood_before(tmp_path: Path, shown: Shown) -> None:
    words = mounting(tmp_path)
    try:
        tried = subprocess.run([*words, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no program here starts a process with a file system of its own")
    if tried.returncode:
        pytest.skip("no small file system can be mounted here")
    counts = filling(*words, folder=tmp_path, way="disk")
    check(counts)
    shown(sum(counts.values()), "2 MiB of tmpfs, full at drawn bytes: all refused, exit code 6")


def test_a_file_that_may_not_grow_leaves_what_stood_before(tmp_path: Path, shown: Shown) -> None:
    counts = filling(folder=tmp_path, way="limit")
    check(counts)
    shown(sum(counts.values()), "files that may not grow beyond drawn bytes: the same")
