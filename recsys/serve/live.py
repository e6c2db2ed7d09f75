"""The generation that answers: a new one is opened beside it and takes its place in one step."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from recsys.domain.artefact import current, read_manifest
from recsys.domain.errors import NoRoomError, RecsysError
from recsys.serve.spec import Serve

T = TypeVar("T")

HEADROOM = 1.2
"""Free memory asked for before a bundle is opened, in sizes of the bundle."""


class Live(Generic[T]):
    """Holds what `load` makes of the current bundle, and looks for the next in a thread.

    A request reads `generation` once, at its start, and stays with it.
    """

    def __init__(
        self,
        spec: Serve,
        load: Callable[[Path], T],
        *,
        said: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the bundle that the settings name; `said` hears (event, detail) of every change.

        Raises:
            ArtefactError: there is none, or it is damaged: nothing older is there to serve.
        """
        self._spec, self._load, self._said, self._clock = spec, load, said, clock
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed: tuple[str, float] | None = None
        self._failing_since: float | None = None
        self.failures: Counter[str] = Counter()
        """Class of the error -> how often a new bundle could not be opened."""
        self.reload_seconds = 0.0
        """What the last opening took."""
        self.draining = False
        """Whether the service has been told to stop."""
        self.folder = self._wanted()
        self.generation = self._open(self.folder)

    @property
    def stale(self) -> bool:
        """Whether a newer bundle has failed to open for longer than the settings allow."""
        since = self._failing_since
        return since is not None and self._clock() - since >= 60 * self._spec.stale_after_minutes

    def start(self) -> None:
        """Look for new bundles in a thread of its own, until `stop`."""
        if self._spec.bundle == "CURRENT" and self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="reload", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=60)

    def wake(self) -> None:
        """Look for a new bundle now, and try a failed one again; safe in a signal handler."""
        self._failed = None
        self._wake.set()

    def look(self) -> bool:
        """Take the bundle that CURRENT names if it is another one; return whether it was taken.

        Whatever is wrong with it, what answered before goes on answering.
        """
        try:
            folder = self._wanted()
        except RecsysError as error:
            return self._fail("", error)
        if folder == self.folder:
            self._failed = self._failing_since = None
            return False
        if self._just_failed(folder.name):
            return False
        try:
            generation = self._open(folder)
        except Exception as error:  # ruff: ignore[blind-except]  # whatever it is, the next bundle is looked for
            return self._fail(folder.name, error)
        self.generation, self.folder = generation, folder
        self._failed = self._failing_since = None
        self._said("reloaded", folder.name)
        return True

    def _watch(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(self._spec.poll_seconds)
            self._wake.clear()
            if not self._stop.is_set():
                self.look()

    def _wanted(self) -> Path:
        root = Path(self._spec.bundles_dir)
        return current(root) if self._spec.bundle == "CURRENT" else root / self._spec.bundle

    def _open(self, folder: Path) -> T:
        started = time.perf_counter()
        _check_memory(folder)
        made = self._load(folder)
        self.reload_seconds = time.perf_counter() - started
        return made

    def _just_failed(self, name: str) -> bool:
        if self._failed is None or self._failed[0] != name:
            return False
        return self._clock() - self._failed[1] < self._spec.retry_seconds

    def _fail(self, name: str, error: Exception) -> bool:
        now = self._clock()
        if name or not self._just_failed(name):  # a missing pointer is seen at every look
            self.failures[type(error).__name__] += 1
            self._said("reload_failed", str(error))
            self._failed = (name, now)
        self._failing_since = now if self._failing_since is None else self._failing_since
        return False


def _check_memory(folder: Path) -> None:
    """Refuse a bundle for which there is no memory, before it drives the process out."""
    needed = int(HEADROOM * sum(fact.bytes for fact in read_manifest(folder).files.values()))
    free = _free_memory()
    if free is not None and free < needed:
        raise NoRoomError(
            f"{folder} needs {needed:,} bytes of memory, {free:,} are free",
            "free some memory, or serve from a machine with more",
        )


def _free_memory() -> int | None:
    """Return bytes that can be had without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    said = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(said[0][1]) * 1024 if said else None
