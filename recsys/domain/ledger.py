"""Work that is done shard by shard: what is on the disk whole, what is missing, and its publishing.

A driver opens the ledger of a plan and finds there what earlier drivers left. Workers, in any
process, `put` shards. Each of them may be killed at any moment: a shard is there whole, with a
file of facts beside it, or it is missing.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self, Unpack

from recsys.domain import artefact
from recsys.domain.disk import digest, naming, take_lock
from recsys.domain.errors import ArtefactError
from recsys.domain.manifest import JSON, FileFact
from recsys.domain.shard import ShardFact, canonical, fact_of, put, read_fact, write_json
from recsys.domain.verify import check_path, read_manifest

__all__ = ["Ledger", "ShardFact", "ShardPlan", "put", "work_folder"]

PLAN, NAME = "plan.json", "name.json"
KEPT_SECONDS = 7 * 24 * 3600
"""Shards of a plan that nobody took up again for so long are removed."""
FREE = -1
"""Instead of the descriptor of a lock: none is held."""
READERS = 2
"""Threads that hash shards at a time."""


@dataclass(frozen=True)
class ShardPlan:
    """What is to be made, in which files; equal plans have equal bits."""

    kind: str
    """Of the artefact that comes of it: export, slates."""
    facts: JSON
    """Everything the bytes depend on: fingerprint of the bundle, settings."""
    shards: tuple[str, ...]
    """File names below the artefact's folder, such as members/part-00017.parquet."""

    def __post_init__(self) -> None:
        """Refuse names that no artefact may hold, and none twice."""
        for shard in self.shards:
            check_path(shard)
        if len(set(self.shards)) != len(self.shards) or not self.shards:
            raise ValueError(f"{len(self.shards)} shards, {len(set(self.shards))} names")

    @property
    def fingerprint(self) -> str:
        """16 hex digits: equal plans, equal name."""
        return sha256(canonical(asdict(self))).hexdigest()[:16]


class Ledger:
    """The shards of a plan that are done; held by one driver at a time."""

    def __init__(self, root: Path, plan: ShardPlan, lock: int) -> None:
        """Use `open`: it holds the lock."""
        self.root, self.plan, self._lock = root, plan, lock
        self.folder = work_folder(root, plan)
        self._checked: dict[str, tuple[tuple[int, ...], ShardFact]] = {}

    @classmethod
    def open(cls, root: Path, plan: ShardPlan) -> Ledger:
        """Find or make the folder of a plan below `root` and hold it until `close` or `finish`.

        What dead workers left half-made is swept, and so are plans nobody took up for a week.

        Raises:
            ArtefactError: another process works on this plan now.
            NoRoomError, DeviceError: the system refused a write.
        """
        root = Path(root)
        folder = work_folder(root, plan)
        with naming(folder):
            artefact.DISK.make_root(root)
            _sweep(root, plan)
            lock = take_lock(_lock_of(folder))
        if lock is None:
            raise ArtefactError(
                f"another process works on this {plan.kind} ({folder})",
                "let it finish; what it has done stands if it is stopped",
            )
        try:
            with naming(folder):
                _prepare(folder, plan)
        except BaseException:
            os.close(lock)
            raise
        return cls(root, plan, lock)

    @classmethod
    def peek(cls, root: Path, plan: ShardPlan) -> dict[str, ShardFact]:
        """Return what is known of the shards that are there whole; hold and write nothing."""
        return cls(Path(root), plan, FREE).facts()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def missing(self) -> list[str]:
        """Return the shards that are not there whole, in the order of the plan."""
        done = self.facts()
        return [shard for shard in self.plan.shards if shard not in done]

    def facts(self) -> dict[str, ShardFact]:
        """Return what is known of the shards that are there whole, in the order of the plan.

        Every byte is compared with its hash, once for each file that is found.
        """
        with ThreadPoolExecutor(READERS) as readers:
            found = readers.map(self._found, self.plan.shards)
        return {fact.shard: fact for fact in found if fact is not None}

    def finish(self, *, name: str, **facts: Unpack[artefact.Facts]) -> Path:
        """Publish all shards as one artefact below the root and let go; return its folder.

        The files are not copied. A driver that dies in here is followed by one that finds the
        same folder published, or publishes it under the same name.

        Raises:
            ArtefactError: shards are missing.
            NoRoomError, DeviceError: the system refused a write; what is done stands.
        """
        done = self.facts()
        if len(done) < len(self.plan.shards):
            lacking = next(shard for shard in self.plan.shards if shard not in done)
            raise ArtefactError(
                f"{len(self.plan.shards) - len(done)} of {len(self.plan.shards)} shards are "
                f"missing, the first is {lacking}",
                "the same command makes them",
            )
        files = {fact.shard: FileFact(fact.bytes, fact.sha256) for fact in done.values()}
        stem = self._name(name)
        for number in range(1, 100):
            path = artefact.publish(
                self.root,
                self.plan.kind,
                self._link,
                name=stem if number == 1 else f"{stem}-{number}",
                **facts,
            )
            # another artefact of that name stood there, and stays
            if read_manifest(path).files == files:
                artefact.DISK.remove(self.folder)
                self.close()
                return path
        raise ArtefactError(f"{self.root} has a hundred folders called {stem}", "name another")

    def close(self) -> None:
        """Let go: what is done stands, and whoever opens the plan next goes on with it."""
        if self._lock != FREE:
            if not any(fact_of(self.folder, shard).exists() for shard in self.plan.shards):
                artefact.DISK.remove(self.folder)
            if not self.folder.exists():
                with suppress(OSError):
                    _lock_of(self.folder).unlink()
            os.close(self._lock)
            self._lock = FREE

    def _found(self, shard: str) -> ShardFact | None:
        fact, status = read_fact(self.folder, shard), _status(self.folder / shard)
        if fact is None or status is None:
            return None
        known = self._checked.get(shard)
        if known == (status, fact):
            return fact
        if status[0] != fact.bytes or digest(self.folder / shard) != fact.sha256:
            return None
        self._checked[shard] = (status, fact)
        return fact

    def _name(self, name: str) -> str:
        """Return the name that the first to finish this plan chose."""
        path = self.folder / NAME
        with naming(path):
            if not path.exists():
                write_json(self.folder, path, name)
            return str(json.loads(path.read_bytes()))

    def _link(self, draft: Path) -> None:
        for shard in self.plan.shards:
            (draft / shard).parent.mkdir(parents=True, exist_ok=True)
            try:
                (draft / shard).hardlink_to(self.folder / shard)
            except OSError:
                # a file system without links: if publishing fails too, the shard is made again
                artefact.DISK.rename(self.folder / shard, draft / shard)


def work_folder(root: Path, plan: ShardPlan) -> Path:
    """Return where the shards of a plan are made."""
    return Path(root) / f".work-{plan.kind}-{plan.fingerprint}"


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _prepare(folder: Path, plan: ShardPlan) -> None:
    """Make the folders of a plan that is held, and sweep what dead workers left."""
    os.utime(_lock_of(folder))
    for below in sorted({(folder / shard).parent for shard in plan.shards}):
        below.mkdir(parents=True, exist_ok=True)
    artefact.sweep(folder)
    if not (folder / PLAN).exists():
        write_json(folder, folder / PLAN, asdict(plan))


def _sweep(root: Path, plan: ShardPlan) -> None:
    """Remove plans of this kind that no driver holds and nobody touched for a week."""
    for lock in root.glob(f".work-{plan.kind}-*.lock"):
        folder = lock.with_suffix("")
        try:
            young = time.time() - lock.stat().st_mtime < KEPT_SECONDS
        except FileNotFoundError:  # its driver has just ended
            continue
        if young or folder == work_folder(root, plan):
            continue
        handle = take_lock(lock)
        if handle is not None:
            artefact.DISK.remove(folder)
            lock.unlink(missing_ok=True)
            os.close(handle)


def _status(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_ino, status.st_mtime_ns
