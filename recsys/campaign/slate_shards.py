"""The slate log on disk: an append-only folder of parquet, one file a shard of a send."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl

from recsys.campaign.slate_columns import SLATE_LOG, check_columns, check_rows, kinds_of
from recsys.domain import artefact
from recsys.domain.arrays import F32
from recsys.domain.disk import naming, take_lock
from recsys.domain.errors import ArtefactError, MissingArtefactError
from recsys.domain.verify import check_path


def write_shard(rows: pl.DataFrame, folder: Path, *, shard: int) -> Path:
    """Write one shard of one send as `<send_id>.<shard>.parquet`; the same shard again replaces it.

    The file is synced under a hidden name and then renamed: it is there whole, or not at all.

    Raises:
        DataRefusedError: the rows break the contract.
        ValueError: no rows, or rows of several sends.
        NoRoomError: the disk is full.
        DeviceError: the system refused.
        ArtefactError: another process writes the same shard now.
    """
    check_rows(rows, SLATE_LOG, f"shard {shard}")
    sends = rows["send_id"].unique().to_list()
    if len(sends) != 1:
        raise ValueError(f"shard {shard} holds rows of {len(sends)} sends, wanted one")
    path = folder / f"{sends[0]}.{shard:05}.parquet"
    check_path(path.name)
    packed = BytesIO()
    rows.write_parquet(packed)
    draft, lock = folder / f".{path.name}.draft", folder / f".{path.name}.lock"
    with naming(path):
        folder.mkdir(parents=True, exist_ok=True)
        handle = take_lock(lock)
        if handle is None:
            raise ArtefactError(
                f"another process is writing {path}", "let it finish, or give each its own shards"
            )
        try:
            # what an attempt that was killed left behind
            draft.unlink(missing_ok=True)
            artefact.DISK.create(draft, packed.getvalue())
            artefact.DISK.rename(draft, path)
            artefact.DISK.sync(folder)
        finally:
            draft.unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
            os.close(handle)
    return path


def shards_of(root: str) -> list[Path]:
    """Return the files of a log: of one folder, or of all that a pattern like sends/*/log names.

    Raises:
        MissingArtefactError: none is there.
    """
    named = Path(root)
    folders = [named]
    if "*" in root:
        folders = sorted(Path(named.anchor).glob(str(named.relative_to(named.anchor))))
    found = [path for folder in folders for path in sorted(folder.glob("*.parquet"))]
    shards = [path for path in found if not path.name.startswith(".")]
    if not shards:
        raise MissingArtefactError(
            f"no slate log in {root}: a log is a folder of parquet files",
            "name yours, or several by a pattern: 'exports/*_slates/log' (docs/slate-log.md)",
        )
    return shards


def scan(root: Path | str) -> pl.LazyFrame:
    """Return the whole log to be queried; only what a query asks for is read.

    Raises:
        MissingArtefactError: no shard is there.
        DataRefusedError: a shard breaks the contract: the file and the columns are named.
    """
    shards = shards_of(str(root))
    for path in shards:
        check_columns(pl.read_parquet_schema(path), SLATE_LOG, str(path))
    return pl.scan_parquet(shards).select(*kinds_of(SLATE_LOG))


def log_chances(rows: pl.DataFrame) -> F32:
    """Return log propensities as decisions hold them, F32[k]: NaN where a slot was repaired."""
    return rows["log_propensity"].fill_null(np.nan).to_numpy()
