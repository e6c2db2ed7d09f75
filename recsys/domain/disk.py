"""The artefact store's one way to a disk, so that tests can make the disk fail."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from recsys.domain.errors import ArtefactError, NoRoomError

_BLOCK = 4 << 20
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Disk:
    """The system calls of the store; a test's subclass fails the n-th of them."""

    def free_bytes(self, folder: Path) -> int:
        """Return the bytes this user may still write there."""
        return shutil.disk_usage(folder).free

    def mkdir(self, folder: Path) -> None:
        """Make a folder only its owner can read."""
        folder.mkdir(mode=0o700)

    def create(self, path: Path, data: bytes) -> None:
        """Write a new file and sync it; an existing one is an error."""
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def sync(self, path: Path) -> None:
        """Force a file or a folder onto the disk."""
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def chmod(self, path: Path, mode: int) -> None:
        """Set the mode, whatever the umask says."""
        path.chmod(mode)

    def rename(self, source: Path, target: Path) -> None:
        """Rename within one file system; an existing file is replaced in one step."""
        source.replace(target)

    def remove(self, folder: Path) -> None:
        """Remove a folder and all in it; what is already gone is fine."""
        shutil.rmtree(folder, ignore_errors=True)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits, read in 4 MiB blocks."""
    sha = sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            sha.update(block)
    return sha.hexdigest()


@contextmanager
def naming(path: Path) -> Generator[None]:
    """Turn a failing system call into an error that names the file and has an exit code.

    Raises:
        NoRoomError: the disk or the quota is full.
        ArtefactError: anything else the system refused.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or path
        said = error.strerror or str(error)
        kind = NoRoomError if _is_full(error, path) else ArtefactError
        raise kind(
            f"cannot write {where}: {said}", "all that was published before stands as it was"
        ) from error


def _is_full(error: OSError, path: Path) -> bool:
    if error.errno is not None:
        return error.errno in _NO_ROOM
    # numpy says only how many bytes were not written
    return shutil.disk_usage(path.parent).free < _BLOCK


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold an exclusive lock on a file that is made if it is not there; wait for it."""
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def take_lock(path: Path) -> int | None:
    """Lock a file that is made if it is not there; None while another process holds it.

    Closing the returned descriptor lets go.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_ino == path.stat().st_ino:
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        except FileNotFoundError:
            pass
        # a sweeper unlinked the file between opening and locking it
        os.close(handle)
