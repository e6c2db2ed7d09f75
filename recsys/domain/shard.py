"""One shard: on the disk whole, with a file of facts beside it, or missing."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recsys.domain import artefact
from recsys.domain.disk import digest, naming, take_lock
from recsys.domain.manifest import JSON
from recsys.domain.verify import check_path

FACT = ".fact.json"
"""Ends the name of the file of facts beside a shard."""


@dataclass(frozen=True)
class ShardFact:
    """One shard that is on the disk whole."""

    shard: str
    bytes: int
    sha256: str
    said: Mapping[str, Any] = field(default_factory=dict)
    """What its maker said of it: rows and the like."""


def put(folder: Path, shard: str, write: Callable[[Path], Mapping[str, JSON]]) -> ShardFact:
    """Make one shard in the folder of a ledger, whole or not at all; return its facts.

    `write` fills the file it is given and says what is in it. Any process may do this, the same
    shard may be put again, and by two at once: the bits are those of the plan.

    Raises:
        NoRoomError: the disk is full.
        DeviceError: the system refused.
    """
    check_path(shard)
    path = Path(folder) / shard
    with naming(path), _draft(Path(folder)) as draft:
        made = draft / path.name
        said = dict(write(made))
        artefact.DISK.chmod(made, 0o444)
        artefact.DISK.sync(made)
        fact = ShardFact(shard, made.stat().st_size, digest(made), said)
        artefact.DISK.rename(made, path)
        write_json(draft, fact_of(Path(folder), shard), asdict(fact))
    return fact


@contextmanager
def _draft(folder: Path) -> Generator[Path]:
    """Make a hidden folder and hold its lock, so that nobody sweeps it; leave neither behind."""
    handle = None
    while handle is None:  # a sweeper may take a lock the instant it is made: then another
        draft = folder / f".draft-{os.getpid()}-{secrets.token_hex(4)}"
        lock = draft.with_name(f"{draft.name}.lock")
        handle = take_lock(lock)
    try:
        artefact.DISK.mkdir(draft)
        yield draft
    finally:
        artefact.DISK.remove(draft)
        with suppress(OSError):
            lock.unlink()
        os.close(handle)


def fact_of(folder: Path, shard: str) -> Path:
    """Return where the facts of a shard stand."""
    return folder / (shard + FACT)


def read_fact(folder: Path, shard: str) -> ShardFact | None:
    """Return what stands in the file of facts of a shard; None where that is nothing of ours."""
    try:
        said = json.loads(fact_of(folder, shard).read_bytes())
        fact = ShardFact(**said)
    except (OSError, ValueError, TypeError):
        return None
    return fact if fact.shard == shard else None


def write_json(beside: Path, path: Path, said: Any) -> None:
    """Write a small file that is there whole or not at all."""
    draft = beside / f".{secrets.token_hex(4)}.json"
    artefact.DISK.create(draft, canonical(said))
    artefact.DISK.rename(draft, path)
    artefact.DISK.sync(path.parent)


def canonical(said: Any) -> bytes:
    """Return the one form of plain data."""
    text = json.dumps(said, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()
