"""A disk that remembers what it was asked, and refuses from the n-th call on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from recsys.domain.disk import Disk

CODES = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.ENOENT)
"""Full, failing, over the quota, read-only, its folder gone."""


class FaultyDisk(Disk):
    """Does what it is told and remembers it; the n-th call fails, and later ones if it stays so."""

    def __init__(
        self, fail_at: int | None = None, code: int = errno.ENOSPC, *, stays: bool = False
    ) -> None:
        self.calls: list[tuple[str, str]] = []
        """Name of the call and of the file or folder it was for."""
        self.fail_at, self.code, self.stays = fail_at, code, stays
        self.failed: Path | None = None
        """What the first call that failed was for."""

    def _step(self, call: str, path: Path) -> None:
        number = len(self.calls)
        self.calls.append((call, path.name))
        if self.fail_at is None or number < self.fail_at:
            return
        if number == self.fail_at or self.stays:
            self.failed = self.failed or path
            raise OSError(self.code, os.strerror(self.code))

    def make_root(self, folder: Path) -> None:
        if not folder.is_dir():
            self._step("make_root", folder)
        super().make_root(folder)

    def mkdir(self, folder: Path) -> None:
        self._step("mkdir", folder)
        super().mkdir(folder)

    def create(self, path: Path, data: bytes) -> None:
        # a disk fills up in the middle of a file, not before it
        if self.fail_at == len(self.calls):
            path.write_bytes(data[: len(data) // 2])
        self._step("create", path)
        super().create(path, data)

    def sync(self, path: Path) -> None:
        self._step("sync", path)
        super().sync(path)

    def chmod(self, path: Path, mode: int) -> None:
        self._step("chmod", path)
        super().chmod(path, mode)

    def rename(self, source: Path, target: Path) -> None:
        self._step("rename", target)
        super().rename(source, target)
