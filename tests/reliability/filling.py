"""A disk that is truly full: python -m tests.reliability.filling FOLDER WAY POINTS SEED.

WAY is `disk`: FOLDER lies on a small file system of its own, which is filled up to a drawn number
of bytes; or `limit`: no file may grow beyond a drawn number of bytes. Each artefact is put there
again and again. One line of JSON says how often that was refused, by kind.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from recsys.domain import artefact
from recsys.domain.disk import Disk
from recsys.domain.errors import RecsysError
from recsys.runs.guard import code_of
from tests.reliability.kept import EVERYTHING, Kept

FREE = 1 << 60
"""What the disk is taken to have: so that it is not asked before, but fills up on the way."""


class Blind(Disk):
    """A disk whose free bytes nobody knows."""

    def free_bytes(self, folder: Path) -> int:
        """Promise more than there is."""
        del folder
        return FREE


@contextmanager
def filled(folder: Path, free: int) -> Generator[None]:
    """Leave so many bytes on the file system of a folder, or a block less."""
    filler = folder / "filler"
    there = os.statvfs(folder)
    with filler.open("wb") as file:
        file.write(bytes(max(there.f_bavail * there.f_frsize - free, 0)))
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def limited(_folder: Path, size: int) -> Generator[None]:
    """Let no file grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


WAYS = {"disk": filled, "limit": limited}


def sizes(path: Path) -> list[int]:
    """Return the bytes of all files of an artefact."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return [file.stat().st_size for file in files]


def refusals(kept: Kept, folder: Path, way: str, *, points: int, rng: random.Random) -> int:
    """Put an artefact where it has no room, at so many points; return how often it was refused.

    Raises:
        AssertionError: what stood before was lost, or the error is not that of a full disk.
    """
    root = folder / kept.name.replace(" ", "-")
    old = kept.put(root, 1)
    right = kept.opens(old)
    shutil.copytree(root, spare := folder / "spare", symlinks=True)
    found = sizes(kept.put(root, 2))
    most = sum(found) if way == "disk" else max(found)
    refused = 0
    for _ in range(points):
        shutil.rmtree(root)
        shutil.copytree(spare, root, symlinks=True)
        try:
            with WAYS[way](folder, rng.randrange(most)):
                kept.put(root, 2)
        except RecsysError as error:
            said = str(error)
            if code_of(error) != 6 or not said.startswith("cannot write "):
                raise AssertionError(said) from error
            refused += 1
            if kept.found(root) != old or kept.opens(old) != right:
                raise AssertionError(f"{kept.name}: what stood before is lost") from error
    shutil.rmtree(root)
    shutil.rmtree(spare)
    return refused


def main() -> None:
    """Try all kinds, and print how often each was refused."""
    folder, way, points, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    artefact.DISK = Blind()
    rng = random.Random(f"{seed} {way}")
    counts = {kept.name: refusals(kept, folder, way, points=points, rng=rng) for kept in EVERYTHING}
    print(json.dumps(counts))  # ruff: ignore[print]


if __name__ == "__main__":
    main()
