"""Lines that are on the disk before anybody is told so; what comes together is synced together."""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from recsys.domain import artefact
from recsys.domain.disk import naming
from recsys.domain.errors import NoRoomError

MOST_WAITING = 16 << 20
"""Bytes that may wait for the disk; beyond that a writer is told to come again."""
LARGE = 256 << 20
"""Bytes after which a new file is begun."""
_MODE = 0o640
_SUFFIX = ".csv"


@dataclass
class _Waiting:
    lines: bytes
    stored: Future[None] = field(default_factory=Future)


class Journal:
    """CSV files that one process appends to, a new one at each start, each day and each 256 MB."""

    def __init__(
        self, folder: Path, stem: str, header: str, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Write to `folder/<stem>-<time>-<random>.csv` below a header line; nothing is made yet."""
        self._folder, self._stem, self._clock = folder, stem, clock
        self._header = f"{header}\n".encode()
        self._waiting: deque[_Waiting] = deque()
        self._bytes_waiting = 0
        self._news = threading.Condition()
        self._closed = False
        self._file: _File | None = None
        self._thread: threading.Thread | None = None

    def append(self, lines: bytes) -> Future[None]:
        """Take whole lines; the future is done once they are on the disk, or holds why not.

        Raises:
            NoRoomError: too much waits for the disk already.
            ValueError: the last line does not end, or the journal is closed.
        """
        if not lines.endswith(b"\n"):
            raise ValueError("the last line does not end")
        one = _Waiting(lines)
        with self._news:
            if self._closed:
                raise ValueError("the journal is closed")
            if self._bytes_waiting + len(lines) > MOST_WAITING and self._waiting:
                raise NoRoomError("the disk does not keep up with what is to be stored")
            self._waiting.append(one)
            self._bytes_waiting += len(lines)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name=self._stem, daemon=True)
                self._thread.start()
            self._news.notify()
        return one.stored

    def close(self) -> None:
        """Store what waits, then end."""
        with self._news:
            self._closed = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._closed)
                together = list(self._waiting)
                self._waiting.clear()
                self._bytes_waiting = 0
                if not together:
                    return
            self._store(together)

    def _store(self, together: list[_Waiting]) -> None:
        try:
            with naming(self._folder):
                self._current().append(b"".join(one.lines for one in together))
        except Exception as error:  # ruff: ignore[blind-except]  # whoever waits is told, and the next may do better
            # what stands half written there is cut by who mends, and never written on
            if self._file is not None:
                self._file.close()
                self._file = None
            for one in _listening(together):
                one.stored.set_exception(error)
        else:
            for one in _listening(together):
                one.stored.set_result(None)

    def _current(self) -> _File:
        now = datetime.fromtimestamp(self._clock(), UTC)
        file = self._file
        if file is not None and file.day == now.date() and file.size < LARGE:
            return file
        if file is not None:
            file.close()
            self._file = None
        artefact.DISK.make_root(self._folder)
        # ids of members: not for everybody, but for a reader of the writer's group
        name = f"{self._stem}-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}{_SUFFIX}"
        path = self._folder / name
        file = _File(path, now)
        try:
            file.append(self._header)
            artefact.DISK.sync(self._folder)
        except OSError:
            # a file without its header, or whose name may be lost, takes no line
            file.close()
            with suppress(OSError):
                path.unlink()
            raise
        self._file = file
        return file


def _listening(together: list[_Waiting]) -> list[_Waiting]:
    """Return those that somebody still waits for."""
    return [one for one in together if one.stored.set_running_or_notify_cancel()]


class _File:
    """One file, locked as long as its writer lives."""

    def __init__(self, path: Path, now: datetime) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._handle = os.open(path, flags, _MODE)
        fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.day, self.size = now.date(), 0

    def append(self, lines: bytes) -> None:
        """Write and sync, or leave the file as it was."""
        try:
            left = memoryview(lines)
            while left:
                left = left[os.write(self._handle, left) :]
            os.fsync(self._handle)
        except OSError:
            # half a line must not stand before the next one
            with suppress(OSError):
                os.ftruncate(self._handle, self.size)
            raise
        self.size += len(lines)

    def close(self) -> None:
        """Give up the lock: whoever mends the folder next may look at the file."""
        os.close(self._handle)


def mend(folder: Path, stem: str) -> int:
    """Cut half a last line off files whose writer died; return how many there were.

    Nobody was told that such a line was stored.

    Raises:
        DeviceError, NoRoomError: the system refused.
    """
    mended = 0
    for path in sorted(folder.glob(f"{stem}-*{_SUFFIX}")):
        with naming(path):
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                mended += _mended(handle)
            finally:
                os.close(handle)
    return mended


def _mended(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # its writer lives
        return False
    size = end = os.fstat(handle).st_size
    while end:
        first = max(0, end - (64 << 10))
        found = os.pread(handle, end - first, first).rfind(b"\n")
        if found >= 0:
            end = first + found + 1
            break
        end = first
    if end == size:
        return False
    os.ftruncate(handle, end)
    os.fsync(handle)
    return True
