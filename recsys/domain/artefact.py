"""One store for all that is kept: a folder is published whole and verified, or it is not there."""

from __future__ import annotations

import errno
import os
import platform
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import TypedDict, Unpack

from recsys.domain.disk import Disk, digest, locked, naming, take_lock
from recsys.domain.errors import ArtefactError, MissingArtefactError, NoRoomError
from recsys.domain.manifest import JSON, MANIFEST, FileFact, Manifest
from recsys.domain.verify import NAME, check_path, open_artefact, read_manifest, walk

__all__ = [
    "Facts",
    "Manifest",
    "current",
    "open_artefact",
    "point",
    "publish",
    "read_manifest",
    "retain",
    "sweep",
]

CURRENT = "CURRENT"
"""Name of the file whose one line names the folder to use."""
FORMATS = frozenset({
    ".json",
    ".npy",
    ".npz",
    ".parquet",
    ".safetensors",
    ".faiss",
    ".yaml",
    ".csv",
    ".html",
    ".txt",
})
"""Endings of the files an artefact may hold: nothing that runs code when it is read."""
DISK = Disk()
"""The one way to the disk; tests put another in its place."""

_YOUNG = timedelta(hours=1)
_LIBRARIES = ("numpy", "polars", "torch", "faiss")


class Facts(TypedDict, total=False):
    """What a maker may say of its artefact; see the fields of `Manifest`."""

    parents: Mapping[str, str]
    counts: Mapping[str, int]
    spec: JSON
    watermark: int | None
    decided_at: int | None
    self_test: JSON
    extra: JSON


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
        ArtefactError: the system refused a write; what was published before stands.
    """
    root = Path(root)
    if name is not None:
        check_path(name)
    _make_room(root, kind, bytes_needed)
    draft = root / f".draft-{os.getpid()}-{secrets.token_hex(4)}"
    lock = draft.with_name(f"{draft.name}.lock")
    with naming(draft):
        handle = take_lock(lock)
    try:
        with naming(draft):
            DISK.mkdir(draft)
            write(draft)
            manifest = Manifest(
                kind=kind,
                files=_settle(draft),
                made_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                made_by=_versions(),
                **facts,
            )
            _seal(draft, manifest)
            return _give_name(draft, root / (name or manifest.fingerprint), kind)
    finally:
        DISK.remove(draft)
        with suppress(OSError):
            lock.unlink()
        if handle is not None:
            os.close(handle)


def _make_room(root: Path, kind: str, bytes_needed: int) -> None:
    """Make the root, sweep drafts of dead makers, and check that the disk holds what comes."""
    with naming(root):
        root.mkdir(parents=True, exist_ok=True)
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
        ArtefactError: the system refused; the pointer stands as it was.
    """
    check_path(name)
    read_manifest(root / name)
    draft = root / f".{CURRENT}.{os.getpid()}-{secrets.token_hex(4)}"
    with naming(root / CURRENT), locked(root / ".publish.lock"):
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
    raise MissingArtefactError(
        f"{root / CURRENT} names {name[:80]!r}, which is not there",
        "make one: python train.py        or name one: bundle=NAME",
    )


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
    now = now or datetime.now(UTC)
    with naming(root), locked(root / ".publish.lock"):
        known = {path.name: manifest for path, manifest in _published(root)}
        newest = sorted(known, key=lambda name: known[name].made_at, reverse=True)
        kept = set(newest[:keep])
        with suppress(MissingArtefactError):
            kept.add(current(root).name)
        kept |= {n for n, m in known.items() if now - datetime.fromisoformat(m.made_at) < _YOUNG}
        while parents := {
            name
            for name, manifest in known.items()
            if name not in kept
            and any(manifest.fingerprint in known[k].parents.values() for k in kept & known.keys())
        }:
            kept |= parents
        gone = sorted(known.keys() - kept)
        for name in gone:
            DISK.rename(root / name, root / f".gone-{name}-{secrets.token_hex(4)}")
    sweep(root)
    return gone


def _published(root: Path) -> Iterator[tuple[Path, Manifest]]:
    for path in root.iterdir():
        if NAME.fullmatch(path.name) and path.is_dir():
            with suppress(ArtefactError):
                yield path, read_manifest(path)


def _settle(draft: Path) -> dict[str, FileFact]:
    """Sync and hash all files of a draft and set their modes."""
    files = {}
    for path, status in walk(draft):
        check_path(path)
        if Path(path).suffix not in FORMATS:
            raise ValueError(f"{path}: an artefact holds {', '.join(sorted(FORMATS))} alone")
        DISK.sync(draft / path)
        DISK.chmod(draft / path, 0o444)
        files[path] = FileFact(bytes=status.st_size, sha256=digest(draft / path))
    return files


def _seal(draft: Path, manifest: Manifest) -> None:
    """Write the manifest after everything else is on the disk."""
    leaves = {(draft / path).parent for path in manifest.files}
    folders = {f for leaf in leaves for f in (leaf, *leaf.parents) if draft in f.parents}
    for folder in sorted(folders):
        DISK.chmod(folder, 0o755)
        DISK.sync(folder)
    DISK.sync(draft)
    DISK.create(draft / MANIFEST, manifest.to_bytes())
    DISK.chmod(draft / MANIFEST, 0o444)
    DISK.chmod(draft, 0o755)
    DISK.sync(draft)


def _give_name(draft: Path, target: Path, kind: str) -> Path:
    while True:
        try:
            # a folder is never renamed over one that holds files: the system refuses
            DISK.rename(draft, target)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise
        else:
            DISK.sync(target.parent)
            return target
        try:
            open_artefact(target, kind)
        except ArtefactError:
            beside = f".broken-{target.name}-{secrets.token_hex(4)}"
            with suppress(FileNotFoundError):
                DISK.rename(target, target.with_name(beside))
        else:
            return target


def _versions() -> dict[str, str]:
    loaded = {name: sys.modules[name] for name in _LIBRARIES if name in sys.modules}
    made_by = {name: str(getattr(module, "__version__", "?")) for name, module in loaded.items()}
    made_by["python"] = platform.python_version()
    try:
        made_by["recsys"] = metadata.version("noon-recsys")
    except metadata.PackageNotFoundError:
        made_by["recsys"] = "not installed"
    return made_by
