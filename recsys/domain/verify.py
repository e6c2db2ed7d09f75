"""Look at a published folder and trust none of it before every byte is checked."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from recsys.domain.disk import digest, reading
from recsys.domain.errors import BrokenArtefactError, MissingArtefactError
from recsys.domain.manifest import MANIFEST, MAX_MANIFEST_BYTES, FileFact, Manifest, parse_manifest

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What a folder, or one part of a path in it, may be called."""
FORMATS = frozenset({
    ".json",
    ".npy",
    ".parquet",
    ".safetensors",
    ".faiss",
    ".yaml",
    ".csv",
    ".html",
    ".txt",
})
"""Endings of the files an artefact may hold: nothing that runs code when it is read."""

_MAX_DEPTH = 3


def open_artefact(folder: Path, kind: str, *, verified: str | None = None) -> Manifest:
    """Verify a folder, every byte of it, before any parser sees one; return what it says.

    `verified` is for a process whose driver has just done that: the fingerprint of the manifest
    it found. Then manifest, names and sizes are checked here, and the bytes are taken on trust.

    Raises:
        MissingArtefactError: no folder, or one without a manifest.
        BrokenArtefactError: a file was changed, cut, added or removed, or the kind is another.
        OldLayoutError: it was made by a version with another layout.
        ArtefactError: the system does not let it be read.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest.kind != kind:
        raise BrokenArtefactError(
            f"{folder / MANIFEST} describes a {manifest.kind}, wanted a {kind}",
            f"name the folder of a {kind}",
        )
    if verified not in {None, manifest.fingerprint}:
        raise BrokenArtefactError(
            f"{folder} is {manifest.fingerprint}, not the {verified} that was verified",
            "start again: another artefact has taken its place",
        )
    _check_names(folder, manifest)
    with reading(folder):
        found = dict(walk(folder))
    found.pop(MANIFEST, None)
    for path in sorted(found.keys() | manifest.files.keys()):
        _check_listed(folder / path, found.get(path), manifest.files.get(path))
    if verified is None:
        _check_content(folder, manifest)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read what a folder says of itself without looking at its files.

    Raises:
        MissingArtefactError: no folder, or one without a manifest.
        BrokenArtefactError: the manifest was changed, or the folder is a link.
        OldLayoutError: it was made by a version with another layout.
        ArtefactError: the system does not let it be read.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if folder.is_symlink():
        raise _broken(folder, "is a link: name the folder itself")
    with reading(path):
        try:
            status = path.lstat()
            fits = stat.S_ISREG(status.st_mode) and status.st_size <= MAX_MANIFEST_BYTES
            data = path.read_bytes() if fits else None
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingArtefactError(
                f"{folder} holds nothing published (no {MANIFEST})",
                "make one, or name another folder",
            ) from error
    if data is None:
        raise _broken(path, "is no manifest")
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


def check_file(path: str) -> None:
    """Refuse what no file of an artefact may be called.

    Raises:
        ValueError: no name for it, or an ending that is none of `FORMATS`.
    """
    check_path(path)
    if Path(path).suffix not in FORMATS:
        raise ValueError(f"{path}: an artefact holds {', '.join(sorted(FORMATS))} alone")


def _check_names(folder: Path, manifest: Manifest) -> None:
    for path in manifest.files:
        try:
            check_file(path)
        except ValueError as error:
            raise _broken(folder / MANIFEST, f"lists what no artefact holds: {error}") from error


def _check_content(folder: Path, manifest: Manifest) -> None:
    """Hash all files, as many at a time as there are cores: hashing needs no Python lock."""
    largest_first = sorted(manifest.files, key=lambda path: -manifest.files[path].bytes)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashed = pool.map(lambda path: digest(folder / path), largest_first)
        for path in largest_first:
            with reading(folder / path):
                found = next(hashed)
            if found != manifest.files[path].sha256:
                raise _broken(folder / path, "was changed since published")


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
