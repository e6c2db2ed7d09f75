"""Promise 1: a reader sees one whole artefact or the one before, whatever dies."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from recsys.domain.artefact import open_current, point, sweep
from recsys.domain.errors import BrokenArtefactError
from tests.reliability.conftest import Shown
from tests.reliability.figures import RELEASE, drawn, times
from tests.reliability.publisher import publish_one, read_one

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(0 if RELEASE else 300)


@dataclass
class Tally:
    """What was seen while publishers were killed."""

    kills: int = 0
    reads: int = 0
    half: int = 0
    """Drafts that a kill left behind."""
    newest: int = -1
    whole: set[str] = field(default_factory=set)
    """Artefacts that were read."""

    def read(self, root: Path) -> None:
        """Open the current artefact as a service does: whole, and never an older one again."""
        number = open_current(root, read_one)
        assert number >= self.newest
        self.newest = number
        self.reads += 1

    def read_new(self, root: Path) -> None:
        """Read all that was published since."""
        new = {folder.name for folder in folders(root)} - self.whole
        for name in new:
            read_one(root / name)
        self.whole |= new


def begun(root: Path, first: int) -> subprocess.Popen[str]:
    """Start a publisher that loads its libraries and waits."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.reliability.publisher", str(root), str(first)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )


def released(publisher: subprocess.Popen[str]) -> None:
    assert publisher.stdin is not None
    assert publisher.stdout is not None
    assert publisher.stdout.readline() == "ready\n"
    publisher.stdin.write("go\n")
    publisher.stdin.flush()


def buried(publisher: subprocess.Popen[str]) -> None:
    publisher.kill()
    publisher.communicate()


def folders(root: Path) -> Iterator[Path]:
    return (path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def strike(root: Path, kills: int, rng: random.Random) -> Tally:
    """Kill publishers, 1 to 120 ms after each began, and read before and after every death."""
    tally = Tally()
    following = begun(root, 1)
    for turn in range(1, kills + 1):
        publisher, following = following, begun(root, turn * 1_000 + 1)
        released(publisher)
        until = time.monotonic() + rng.uniform(0.001, 0.12)
        while time.monotonic() < until:
            tally.read(root)
        assert publisher.poll() is None
        buried(publisher)
        tally.kills += 1
        tally.half += len(list(root.glob(".draft-*[!k]")))
        tally.read(root)
        tally.read_new(root)
    buried(following)
    return tally


def test_a_publisher_killed_at_any_moment_leaves_a_whole_artefact(
    tmp_path: Path, shown: Shown
) -> None:
    publish_one(tmp_path, 0)
    tally = strike(tmp_path, times(1), drawn("killed publisher"))
    sweep(tmp_path)
    point(tmp_path, next(folders(tmp_path)).name)
    left = {path.name for path in tmp_path.iterdir() if path.name.startswith(".")}
    assert left == {".publish.lock"}
    assert tally.half > tally.kills // 10
    assert tally.newest > tally.kills * 500
    shown(
        tally.kills,
        f"0 torn; {len(tally.whole):,} artefacts, {tally.reads:,} reads while they were written, "
        f"{tally.half:,} half-made folders swept",
    )


def test_a_torn_artefact_would_be_seen(tmp_path: Path) -> None:
    folder = publish_one(tmp_path, 1)
    (folder / "sub" / "1.csv").unlink()
    (folder / "sub" / "1.csv").write_text("2," * 5_000)
    with pytest.raises(BrokenArtefactError, match=r"1\.csv was changed"):
        open_current(tmp_path, read_one)
