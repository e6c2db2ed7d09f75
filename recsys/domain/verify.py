"""Look at a published folder and trust none of it before every byte is checked."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from recsys.domain.disk import digest
from recsys.domain.errors import BrokenArtefactError, MissingArtefactError
from recsys.domain.manifest import MANIFEST, MAX_MANIFEST_BYTES, FileFact, Manifest, parse_manifest

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What a folder, or one part of a path in it, may be called."""

_MAX_DEPTH = 3


def open_artefact(folder: Path, kind: str) -> Manifest:
    """Verify a folder, every byte of it, before any parser sees one; return what it says.

    Raises:
        MissingArtefactError: no folder, or one without a manifest.
        BrokenArtefactError: a file was changed, cut, added or removed, or the kind is another.
        OldLayoutError: it was made by a version with another layout.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest.kind != kind:
        raise BrokenArtefactError(
            f"{folder / MANIFEST} describes a {manifest.kind}, wanted a {kind}",
            f"name the folder of a {kind}",
        )
    found = dict(walk(folder))
    found.pop(MANIFEST, None)
    for path in sorted(found.keys() | manifest.files.keys()):
        _check_listed(folder / path, found.get(path), manifest.files.get(path))
    for path, fact in manifest.files.items():
        if digest(folder / path) != fact.sha256:
            raise _broken(folder / path, "was changed since published")
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read what a folder says of itself without looking at its files.

    Raises:
        MissingArtefactError: no folder, or one without a manifest.
        BrokenArtefactError: the manifest was changed.
        OldLayoutError: it was made by a version with another layout.
    """
    path = Path(folder) / MANIFEST
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_MANIFEST_BYTES:
            raise _broken(path, "is no manifest")
        data = path.read_bytes()
    except OSError as error:
        raise MissingArtefactError(
            f"{folder} holds nothing published (no {MANIFEST}: {error.strerror})",
            "make one, or name another folder",
        ) from error
    return parse_manifest(data, str(path))


def walk(folder: Path, below: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Yield path and status of all below a folder that is no folder, in a fixed order."""
    with os.scandir(folder / below) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = f"{below}{entry.name}"
        if entry.is_dir(follow_symlinks=False) and path.count("/") < _MAX_DEPTH:
            yield from walk(folder, f"{path}/")
        else:
            yield path, entry.stat(follow_symlinks=False)


def check_path(path: str) -> None:
    """Refuse what is no name for a file or folder of an artefact.

    Raises:
        ValueError: more than three parts, or a part with other characters or a leading dot.
    """
    parts = path.split("/")
    if len(parts) > _MAX_DEPTH or not all(NAME.fullmatch(part) for part in parts):
        raise ValueError(f"{path!r} is no name for a file or folder of an artefact")


def _check_listed(path: Path, found: os.stat_result | None, listed: FileFact | None) -> None:
    if listed is None:
        raise _broken(path, "is surplus: it was not there when the artefact was published")
    if found is None:
        raise _broken(path, "is missing")
    if not stat.S_ISREG(found.st_mode):
        raise _broken(path, "is no plain file")
    if found.st_size != listed.bytes:
        raise _broken(path, f"has {found.st_size:,} bytes, was published with {listed.bytes:,}")


def _broken(path: Path, what: str) -> BrokenArtefactError:
    return BrokenArtefactError(f"{path} {what}", "make the artefact again, or use an older one")
