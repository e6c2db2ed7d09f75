"""What processes hold of memory that is theirs alone, watched while they work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Self

EVERY = 0.05
"""Seconds from look to look."""


def held_mb(process: int, what: str = "RssAnon") -> float:
    """Return what a process holds, in 2^20 bytes: RssAnon = its own, RssFile = of mapped files.

    0 where it has ended, or the system does not tell.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    found = re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def family(process: int) -> Iterator[int]:
    """Yield a process and all that descend from it, whichever of their threads started them."""
    yield process
    try:
        tasks = list(Path(f"/proc/{process}/task").glob("*/children"))
        below = [int(pid) for task in tasks for pid in task.read_text(encoding="ascii").split()]
    except OSError:  # it has ended meanwhile
        return
    for child in below:
        yield from family(child)


def family_mb(process: int) -> float:
    """Return the anonymous memory of a process and of all that descend from it, in 2^20 bytes."""
    return sum(map(held_mb, family(process)))


class Watch:
    """The most that a process and its descendants held at one time, while it looks."""

    def __init__(self, process: int) -> None:
        """Watch a process that runs."""
        self.peak = 0.0
        self._process, self._over = process, Event()
        self._thread = Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            self.peak = max(self.peak, family_mb(self._process))
            if self._over.wait(EVERY):
                return
