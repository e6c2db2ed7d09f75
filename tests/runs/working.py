"""Work that processes of the tests do: it lives in a module, as they import it by name."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from recsys.domain.errors import DataRefusedError
from recsys.runs.deaths import ONE_THREAD


@dataclass(frozen=True)
class Squares:
    """Squares numbers; dies at the first try of some of them, and leaves a mark of each try."""

    folder: str
    deadly: frozenset[int] = frozenset()

    def __call__(self, number: int) -> int:
        tried = len(list(Path(self.folder).glob(f"{number}.*")))
        Path(self.folder, f"{number}.{tried}").touch()
        if number in self.deadly and not tried:
            os.kill(os.getpid(), signal.SIGKILL)
        return number * number


@dataclass(frozen=True)
class Waits:
    """Says that it began, then waits until it may end."""

    folder: str

    def __call__(self, number: int) -> int:
        Path(self.folder, f"began-{number}").write_text(str(os.getpid()))
        until = time.monotonic() + 60
        while not Path(self.folder, "go").exists() and time.monotonic() < until:
            time.sleep(0.01)
        Path(self.folder, f"ended-{number}").touch()
        return number


def always_dies(_number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leaves(_number: int) -> None:
    os._exit(7)


def refuses(number: int) -> None:
    raise DataRefusedError(f"no member {number}", "look at the table")


def breaks(number: int) -> None:
    raise ZeroDivisionError(f"of {number}")


def surroundings(_number: int) -> tuple[int, dict[str, str | None]]:
    return os.getpid(), {name: os.environ.get(name) for name in ONE_THREAD}
