"""The artefact store's one way to a disk, so that tests can make the disk fail."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from recsys.domain.errors import ArtefactError, DeviceError, NoRoomError, RecsysError

_BLOCK = 4 << 20
_HASHED = 256 << 10
"""Bytes hashed at a time: they fit into a core's own cache."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (*_NO_ROOM, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT)
"""What a system may say to a write; libraries written in other languages pass its words on."""


class Disk:
    """The system calls of the store; a test's subclass fails the n-th of them."""

    def free_bytes(self, folder: Path) -> int:
        """Return the bytes this user may still write there."""
        return shutil.disk_usage(folder).free

    def make_root(self, folder: Path) -> None:
        """Make a folder that all may read, and those above it, where they are not there."""
        if folder.is_dir():
            return
        self.make_root(folder.parent)
        with suppress(FileExistsError):  # another process was quicker
            folder.mkdir()
            folder.chmod(0o755)
            # without it the name is gone after a power cut, and all in it
            self.sync(folder.parent)

    def mkdir(self, folder: Path) -> None:
        """Make a folder only its owner can read, whatever the umask says."""
        folder.mkdir(mode=0o700)
        folder.chmod(0o700)

    def create(self, path: Path, data: bytes) -> None:
        """Write a new file that all may read, and sync it; an existing one is an error."""
        with path.open("xb") as file:
            os.fchmod(file.fileno(), 0o444)
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
    """Return the SHA-256 of a file as 64 hex digits, read in blocks into one buffer."""
    sha, block = sha256(), memoryview(bytearray(_HASHED))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(block):
            sha.update(block[:size])
    return sha.hexdigest()


@contextmanager
def naming(path: Path) -> Generator[None]:
    """Turn a write that failed into an error that names the file and has an exit code.

    Raises:
        NoRoomError: the disk or the quota is full.
        DeviceError: anything else the system refused.
    """
    try:
        yield
    except RecsysError:
        raise
    except Exception as error:
        code = _code_of(error, path)
        if code is None:
            raise
        where = getattr(error, "filename", None) or _newest(path)
        kind = NoRoomError if code in _NO_ROOM else DeviceError
        raise kind(
            f"cannot write {where}: {os.strerror(code)}",
            "all that was published before stands as it was",
        ) from error


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Turn a read that failed into an error that names the file.

    Raises:
        ArtefactError: the system refused.
    """
    try:
        yield
    except OSError as error:
        where, said = error.filename or path, error.strerror or str(error)
        raise ArtefactError(
            f"cannot read {where}: {said}", "see to its disk and its rights, or name another"
        ) from error


def _code_of(error: Exception, path: Path) -> int | None:
    """Return the errno of a write that failed; None where it is another error."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    text = str(error)
    for code in _REFUSED:
        if os.strerror(code) in text:
            return code
    if not isinstance(error, OSError):
        return None
    # numpy says only how many bytes were not written
    free = shutil.disk_usage(path if path.is_dir() else path.parent).free
    return errno.ENOSPC if free < _BLOCK else errno.EIO


def _newest(path: Path) -> Path:
    """Return the file below a folder that was written last, or the path itself."""
    files = [found for found in path.rglob("*") if found.is_file()] if path.is_dir() else []
    return max(files, key=lambda found: found.stat().st_mtime_ns, default=path)


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
