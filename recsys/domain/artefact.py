"""One store for all that is kept: a folder is published whole and verified, or it is not there."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar, Unpack

from recsys.domain.disk import Disk, digest, locked, naming, take_lock
from recsys.domain.errors import (
    ArtefactError,
    BrokenArtefactError,
    MissingArtefactError,
    NoRoomError,
    OldLayoutError,
)
from recsys.domain.manifest import MANIFEST, Facts, FileFact, Manifest, made_by
from recsys.domain.retention import kept
from recsys.domain.verify import NAME, check_file, open_artefact, read_manifest, walk

__all__ = [
    "Facts",
    "Manifest",
    "current",
    "open_artefact",
    "open_current",
    "point",
    "publish",
    "read_manifest",
    "retain",
    "sweep",
]

T = TypeVar("T")

CURRENT = "CURRENT"
"""Name of the file whose one line names the folder to use."""
DISK = Disk()
"""The one way to the disk; tests put another in its place."""

_UNUSABLE = (MissingArtefactError, BrokenArtefactError, OldLayoutError)
"""What is wrong with the folder itself; a disk that cannot be read says nothing of it."""


def publish(
    root: Path,
    kind: str,
    write: Callable[[Path], None],
    *,
    name: str | None = None,
    bytes_needed: int = 0,
    **facts: Unpack[Facts],
) -> Path:
    """Let `write` fill a draft folder, seal it and give it its name below `root`, all or nothing.

    The name defaults to the fingerprint. Where a folder of that name is there and verifies, it
    stays and this one is dropped; one that is damaged is kept beside as `.broken-<name>-<n>`.

    Raises:
        NoRoomError: the disk does not hold 1.1 x `bytes_needed`, or filled up on the way.
        DeviceError: the system refused a write; what was published before stands.
        SettingError: so many files were written that no reader would take their list.
    """
    root = Path(root)
    if name is not None:
        _check_name(name)
    _make_room(root, kind, bytes_needed)
    with _draft(root) as draft:
        with naming(draft):
            write(draft)
        manifest = Manifest(
            kind=kind,
            files=_settle(draft),
            made_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            made_by=made_by(),
            **facts,
        )
        _seal(draft, manifest)
        return _give_name(draft, root / (name or manifest.fingerprint), kind)


@contextmanager
def _draft(root: Path) -> Generator[Path]:
    """Make a draft folder and hold its lock; leave neither behind."""
    handle = None
    while handle is None:  # a sweeper may take a lock the instant it is made: then another
        draft = root / f".draft-{os.getpid()}-{secrets.token_hex(4)}"
        lock = draft.with_name(f"{draft.name}.lock")
        with naming(lock):
            handle = take_lock(lock)
    try:
        with naming(draft):
            DISK.mkdir(draft)
        yield draft
    finally:
        DISK.remove(draft)
        with suppress(OSError):
            lock.unlink()
        os.close(handle)


def _make_room(root: Path, kind: str, bytes_needed: int) -> None:
    """Make the root, sweep drafts of dead makers, and check that the disk holds what comes."""
    with naming(root):
        DISK.make_root(root)
        sweep(root)
        free = DISK.free_bytes(root)
    if free < 1.1 * bytes_needed:
        raise NoRoomError(
            f"{root} has {free:,} bytes free, {kind} needs {int(1.1 * bytes_needed):,}",
            "free some space, or name another folder",
        )


def point(root: Path, name: str) -> None:
    """Make `CURRENT` name a published folder, in one step.

    Raises:
        MissingArtefactError: nothing of that name is published.
        NoRoomError, DeviceError: the system refused; the pointer names what it named, or, where
            nothing but the last sync failed, the new folder.
    """
    _check_name(name)
    read_manifest(root / name)
    with naming(root / CURRENT), locked(root / ".publish.lock"):
        read_manifest(root / name)  # nobody retires it from here on
        for dead in root.glob(f".{CURRENT}.*"):
            dead.unlink(missing_ok=True)
        draft = root / f".{CURRENT}.{os.getpid()}"
        try:
            DISK.create(draft, f"{name}\n".encode())
            DISK.rename(draft, root / CURRENT)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        DISK.sync(root)


def current(root: Path) -> Path:
    """Return the folder that `CURRENT` names.

    Raises:
        MissingArtefactError: there is no pointer, or it names nothing that is there.
    """
    name = ""
    for _ in range(3):  # a folder may be retired between reading its name and looking for it
        try:
            name = (root / CURRENT).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise MissingArtefactError(
                f"nothing to use in {root} (no readable {CURRENT})",
                "make one: python train.py        or name one: bundle=NAME",
            ) from error
        if NAME.fullmatch(name) and (root / name / MANIFEST).is_file():
            return root / name
    is_there = NAME.fullmatch(name) and (root / name).is_dir()
    lacks = f"has no {MANIFEST}" if is_there else "is not there"
    raise MissingArtefactError(
        f"{root / CURRENT} names {name[:80]!r}, which {lacks}",
        "make one: python train.py        or name one: bundle=NAME",
    )


def open_current(root: Path, opens: Callable[[Path], T]) -> T:
    """Open the folder that `CURRENT` names; if it is retired meanwhile, the one named then.

    Raises:
        MissingArtefactError: there is no pointer, or it names nothing that is there.
        ArtefactError: what it names cannot be used.
    """
    for _ in range(2):
        folder = current(root)
        try:
            return opens(folder)
        except (ArtefactError, OSError):
            if folder.is_dir():
                raise
    return opens(current(root))


def sweep(root: Path) -> int:
    """Remove the drafts of dead makers and half-removed folders; return how many there were."""
    drafts = {entry.name.removesuffix(".lock") for entry in root.glob(".draft-*")}
    swept = 0
    for name in sorted(drafts):
        lock = root / f"{name}.lock"
        handle = take_lock(lock)
        if handle is None:
            continue
        DISK.remove(root / name)
        lock.unlink(missing_ok=True)
        os.close(handle)
        swept += 1
    for gone in root.glob(".gone-*"):
        DISK.remove(gone)
        swept += 1
    return swept


def retain(root: Path, keep: int = 3, *, now: datetime | None = None) -> list[str]:
    """Remove old artefacts; return their names.

    What stays: the newest `keep`, what `CURRENT` names, what is younger than an hour, the parents
    of all these, and folders whose manifest cannot be read.
    """
    if not root.is_dir():
        return []
    with naming(root), locked(root / ".publish.lock"):
        known = {path.name: manifest for path, manifest in _published(root)}
        in_use = None
        with suppress(MissingArtefactError):
            in_use = current(root).name
        stay = kept(known, keep, in_use=in_use, now=now or datetime.now(UTC))
        gone = sorted(known.keys() - stay)
        for name in gone:
            DISK.rename(root / name, root / f".gone-{name}-{secrets.token_hex(4)}")
    with naming(root):
        sweep(root)
    return gone


def _published(root: Path) -> Iterator[tuple[Path, Manifest]]:
    for path in root.iterdir():
        if NAME.fullmatch(path.name) and path.is_dir():
            with suppress(ArtefactError):
                yield path, read_manifest(path)


def _check_name(name: str) -> None:
    """Refuse what would leave the root, or stand in the way of its pointer."""
    if not NAME.fullmatch(name) or name == CURRENT:
        raise ValueError(f"{name!r} is no name for a published folder")


def _settle(draft: Path) -> dict[str, FileFact]:
    """Set the modes of all files of a draft, sync and hash them."""
    files = {}
    for path, status in walk(draft):
        check_file(path)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path} is no plain file: an artefact holds no links")
        with naming(draft / path):
            DISK.chmod(draft / path, 0o444)
            DISK.sync(draft / path)
            files[path] = FileFact(bytes=status.st_size, sha256=digest(draft / path))
    return files


def _seal(draft: Path, manifest: Manifest) -> None:
    """Write the manifest after everything else is on the disk."""
    data = manifest.to_bytes()
    # the innermost first, the draft itself last
    for folder in reversed([Path(folder) for folder, _, _ in os.walk(draft)]):
        with naming(folder):
            if folder != draft:
                DISK.chmod(folder, 0o755)
            DISK.sync(folder)
    with naming(draft / MANIFEST):
        DISK.create(draft / MANIFEST, data)
        DISK.chmod(draft, 0o755)
        DISK.sync(draft)


def _give_name(draft: Path, target: Path, kind: str) -> Path:
    while True:
        with naming(target):
            if _renamed(draft, target):
                DISK.sync(target.parent)
                return target
        try:
            open_artefact(target, kind)
        except _UNUSABLE:
            beside = f".broken-{target.name}-{secrets.token_hex(4)}"
            with naming(target), suppress(FileNotFoundError):
                DISK.rename(target, target.with_name(beside))
        else:
            return target


def _renamed(draft: Path, target: Path) -> bool:
    """Give a draft its name; False where something of that name is there."""
    try:
        # a folder is never renamed over one that holds files: the system refuses
        DISK.rename(draft, target)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            return False
        raise
    return True
