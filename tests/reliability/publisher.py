"""A process that publishes until it is killed: python -m tests.reliability.publisher ROOT FIRST.

It loads little but the store, says that it is ready, and begins when it reads a line.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path

from recsys.domain.artefact import Manifest, open_artefact, point, publish, retain

KIND = "toy"
KEPT = 20
"""Artefacts that stay: a reader has so long to open one."""


def write(draft: Path, number: int) -> None:
    """Write one number into several files, so that a mixture of two artefacts shows."""
    (draft / "sub").mkdir()
    for part in range(3):
        (draft / "sub" / f"{part}.csv").write_text(f"{number}," * 5_000)


def publish_one(root: Path, number: int) -> Path:
    """Publish an artefact and point at it."""
    folder = publish(root, KIND, partial(write, number=number), counts={"number": number})
    point(root, folder.name)
    return folder


def read_one(folder: Path) -> int:
    """Verify an artefact; return its number, which all of its files must hold.

    Raises:
        ValueError: they hold several.
    """
    manifest: Manifest = open_artefact(folder, KIND)
    said = {one for file in manifest.files for one in (folder / file).read_text().split(",") if one}
    if said != {str(manifest.counts["number"])}:
        raise ValueError(f"{folder} is torn: {sorted(said)}")
    return manifest.counts["number"]


def main() -> None:
    """Publish, point and retire, again and again."""
    root, first = Path(sys.argv[1]), int(sys.argv[2])
    print("ready", flush=True)  # ruff: ignore[print]
    sys.stdin.readline()
    for number in count(first):
        publish_one(root, number)
        if number % 3 == 0:
            # of the day after tomorrow, so that nothing is too young to go
            retain(root, KEPT, now=datetime.now(UTC) + timedelta(days=2))


if __name__ == "__main__":
    main()
