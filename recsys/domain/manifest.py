"""What a published folder says of itself: its files, its parents, its seal."""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from hashlib import sha256
from importlib import metadata
from typing import Any, TypeAlias, TypedDict

from recsys.domain.errors import BrokenArtefactError, OldLayoutError, SettingError

JSON: TypeAlias = (
    "Mapping[str, JSON] | list[JSON] | tuple[JSON, ...] | str | int | float | bool | None"
)
"""Plain data that json can write; tuples come back as lists."""

LAYOUT = 1
"""Version of the folders this program writes and reads."""
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 4 << 20
TIMED = "timed"
"""Name of facts in `Manifest.extra` that a clock measured."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LIBRARIES = ("numpy", "polars", "torch", "faiss")
_NOT_IN_FINGERPRINT = frozenset({"fingerprint", "seal", "made_at", "made_by", "hmac"})


@dataclass(frozen=True)
class FileFact:
    """Size and SHA-256 (64 hex digits) of one file."""

    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        """Refuse what is no size or no hash."""
        if not isinstance(self.bytes, int) or self.bytes < 0 or not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"no size and hash of a file: {self.bytes!r}, {self.sha256!r}")


class Facts(TypedDict, total=False):
    """What a maker may say of its artefact; see the fields of `Manifest`."""

    parents: Mapping[str, str]
    counts: Mapping[str, int]
    spec: JSON
    watermark: int | None
    decided_at: int | None
    self_test: JSON
    extra: JSON


@dataclass(frozen=True)
class Manifest:
    """Everything a reader checks before it looks at a file."""

    kind: str
    """dataset, checkpoint, bundle, export and the like."""
    files: Mapping[str, FileFact]
    """Path below the folder, with slashes -> its size and hash; the manifest is not listed."""
    made_at: str
    """ISO 8601, UTC."""
    made_by: Mapping[str, str] = field(default_factory=dict)
    """Versions of recsys, python and the libraries that were loaded."""
    parents: Mapping[str, str] = field(default_factory=dict)
    """Role -> fingerprint of what this was made from."""
    counts: Mapping[str, int] = field(default_factory=dict)
    spec: JSON = None
    """The resolved settings of the run, as plain data."""
    watermark: int | None = None
    """UTC microseconds: the last instant whose events are known."""
    decided_at: int | None = None
    """UTC microseconds: the instant the content speaks of."""
    self_test: JSON = None
    """Questions and the answers a reader must get."""
    extra: JSON = None
    """Further facts of this kind of artefact."""
    layout: int = LAYOUT
    hmac: str = ""
    """Reserved for keyed signatures."""

    def __post_init__(self) -> None:
        """Refuse what a reader could not use."""
        if datetime.fromisoformat(self.made_at).tzinfo is None:
            raise ValueError(f"made_at={self.made_at!r} has no zone")
        if not all(isinstance(named, Mapping) for named in (self.parents, self.counts)):
            raise TypeError("parents and counts are names with values")

    @property
    def fingerprint(self) -> str:
        """16 hex digits over content, parents, counts and spec: equal bits, equal name."""
        said = {k: v for k, v in asdict(self).items() if k not in _NOT_IN_FINGERPRINT}
        return sha256(_canonical(said | {"extra": _untimed(self.extra)})).hexdigest()[:16]

    def to_bytes(self) -> bytes:
        """Write the one canonical form, sealed.

        Raises:
            SettingError: so many files that no reader would take their list.
        """
        said = asdict(self) | {"fingerprint": self.fingerprint}
        data = _canonical(said | {"seal": sha256(_canonical(said)).hexdigest()})
        if len(data) > MAX_MANIFEST_BYTES:
            raise SettingError(
                f"{len(self.files):,} files make a manifest of {len(data):,} bytes",
                f"readers take {MAX_MANIFEST_BYTES:,}: write fewer and larger files",
            )
        return data


def _untimed(extra: JSON) -> JSON:
    """Return facts without those of a clock: they differ each time, and change no answer."""
    if not isinstance(extra, Mapping):
        return extra
    return {name: _untimed(fact) for name, fact in extra.items() if name != TIMED}


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Read a manifest whose seal and form are intact; `where` names it in errors.

    Raises:
        BrokenArtefactError: a byte of it was changed.
        OldLayoutError: it is whole, and of another layout.
    """
    said = _sealed(data)
    if said is None:
        raise BrokenArtefactError(
            f"{where} was changed since published", "make the artefact again, or use another"
        )
    if said.get("layout") != LAYOUT:
        raise OldLayoutError(
            f"{where} has layout {said.get('layout')}, this program reads {LAYOUT}",
            "make the artefact again with this version",
        )
    try:
        known: dict[str, Any] = {f.name: said[f.name] for f in fields(Manifest)}
        known["files"] = {path: FileFact(**fact) for path, fact in said["files"].items()}
        manifest = Manifest(**known)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BrokenArtefactError(f"{where} lacks what every manifest says: {error}") from error
    if manifest.fingerprint != said.get("fingerprint"):
        raise BrokenArtefactError(f"{where} says more, or another thing, than its fingerprint")
    return manifest


def made_by() -> dict[str, str]:
    """Return the versions of recsys, python and the libraries that are loaded."""
    loaded = {name: sys.modules[name] for name in _LIBRARIES if name in sys.modules}
    versions = {name: str(getattr(module, "__version__", "?")) for name, module in loaded.items()}
    versions["python"] = platform.python_version()
    try:
        versions["recsys"] = metadata.version("noon-recsys")
    except metadata.PackageNotFoundError:
        versions["recsys"] = "not installed"
    return versions


def _sealed(data: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(data)
        if not isinstance(said, dict) or _canonical(said) != data:
            return None
        seal = said.pop("seal", None)
        return said if seal == sha256(_canonical(said)).hexdigest() else None
    except (ValueError, RecursionError):
        return None


def _canonical(said: Mapping[str, Any]) -> bytes:
    text = json.dumps(said, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()
