"""Vectors dealt into files of their own, each made alone, from arrays that stay on the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl

from recsys.domain.arrays import F32, I64
from recsys.domain.disk import reading
from recsys.domain.embeddings import Embeddings
from recsys.domain.keys import keys_of
from recsys.domain.ledger import ShardFact, put
from recsys.domain.manifest import JSON, Manifest
from recsys.domain.packed import Packing

What: TypeAlias = Literal["members", "sales"]
IDS: Mapping[What, tuple[str, str]] = {
    "members": ("members/ids.parquet", "member"),
    "sales": ("sales/info.parquet", "sale"),
}
"""Which file of a bundle names the rows, and in which column."""
LARGEST = 64 << 20
"""Bytes of float32 vectors that a file of members holds on average, at most: a worker needs about
four times as much."""
DEALT = "dealt"
"""Folder beside the shards that says which rows go into which; it is not published."""
LEVEL = 1
"""Of zstd: 3 makes float32 vectors no smaller, and takes twice as long."""


@dataclass(frozen=True)
class Table:
    """The vectors of members or sales, at rest."""

    what: What
    ids: Path
    """Parquet, a row for each vector."""
    column: str
    vectors: Path
    """Raw array F32[n, dim]."""
    unit_dims: int
    model: str
    """Fingerprint of the model that made them."""

    def read_ids(self) -> pl.Series:
        """Return the ids, str[n]."""
        with reading(self.ids):
            return pl.read_parquet(self.ids, columns=[self.column])[self.column].cast(pl.String)

    def mapped(self) -> F32:
        """Return the vectors F32[n, dim]; the system reads what is looked at."""
        with reading(self.vectors):
            return _mapped(self.vectors)


@lru_cache(maxsize=4)
def _mapped(path: Path) -> F32:
    """Map an array once a process: each mapping anew would find its pages anew."""
    vectors: F32 = np.load(path, mmap_mode="r", allow_pickle=False)
    return vectors


def table_of(folder: Path, manifest: Manifest, what: What) -> Table:
    """Return the vectors of a verified bundle."""
    ids, column = IDS[what]
    said: Any = manifest.extra
    return Table(
        what=what,
        ids=folder.resolve() / ids,
        column=column,
        vectors=folder.resolve() / what / "vectors.npy",
        unit_dims=int(said["unit_dims"]),
        model=str(said["model"]),
    )


def files_for(rows: int, dim: int, rows_per_file: int) -> int:
    """Return how many files members are dealt into: a power of two.

    So a member stays in the same file from day to day, and when there are twice as many files,
    each of them is split in two.
    """
    most = max(1, min(rows_per_file, LARGEST // (4 * dim)))
    return 1 << (max(1, -(-rows // most)) - 1).bit_length()


def by_key(ids: pl.Series, files: int) -> I64:
    """Return the file of each member by the hash of its id, I64[n]."""
    found: I64 = (keys_of(ids) % np.uint64(files)).astype(np.int64)
    return found


def by_row(rows: int, rows_per_file: int) -> I64:
    """Return the file of each sale by its place, I64[n]."""
    return np.arange(rows) // rows_per_file


def name_of(what: What, number: int) -> str:
    """Return the name of a file of vectors."""
    return f"{what}/part-{number:05}.parquet"


def deal(ids: pl.Series, file_of: I64, folder: Path, *, shards: Sequence[str]) -> None:
    """Note for each shard which rows go into it, with their ids, in the order of the bundle.

    `shards` are files of one table that are still to be made, below the `folder` of a ledger.
    """
    order = np.argsort(file_of, kind="stable")
    ends = np.searchsorted(file_of[order], np.arange(int(file_of.max(initial=0)) + 2))
    for shard in shards:
        number = int(Path(shard).stem.removeprefix("part-"))
        rows = order[slice(*ends[number : number + 2])] if number + 1 < len(ends) else order[:0]
        (folder / DEALT / shard).parent.mkdir(parents=True, exist_ok=True)
        put(folder, f"{DEALT}/{shard}", partial(_note, ids[rows], rows))


def _note(ids: pl.Series, rows: I64, path: Path) -> Mapping[str, JSON]:
    pl.DataFrame({"id": ids, "row": rows}).write_parquet(path, compression="lz4")
    return {"rows": len(rows)}


@dataclass(frozen=True)
class Writing:
    """Makes one shard, in any process: called with its name."""

    folder: Path
    """Of the ledger; an absolute path."""
    tables: tuple[Table, ...]
    packing: Packing

    def __call__(self, shard: str) -> ShardFact:
        """Write the rows dealt to a shard.

        Raises:
            NoRoomError, DeviceError: the system refused.
            ValueError: vectors are not finite, or their unit part has another length than 1.
        """
        return put(self.folder, shard, partial(self._write, shard))

    def _write(self, shard: str, path: Path) -> Mapping[str, JSON]:
        (table,) = (one for one in self.tables if shard.startswith(f"{one.what}/"))
        noted = self.folder / DEALT / shard
        with reading(noted):
            dealt = pl.read_parquet(noted)
        some = Embeddings(
            ids=dealt["id"].to_numpy(),
            vectors=table.mapped()[dealt["row"].to_numpy()],
            unit_dims=table.unit_dims,
            fingerprint=table.model,
        )
        columns = self.packing(some.vectors)
        frame = pl.DataFrame({"id": dealt["id"], **columns})
        frame.write_parquet(path, compression="zstd", compression_level=LEVEL, statistics=False)
        return {"rows": len(frame)}
