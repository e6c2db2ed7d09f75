"""The tables of a streamed past as parquet, by day and block: what `data=tables` reads."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys.domain.errors import SettingError
from recsys.world.spread import Spread, in_turn
from recsys.world.stream import Past
from recsys.world.tables import (
    Some,
    events_table,
    exposures_table,
    identities_table,
    members_table,
    shop_tables,
)

OF_MEMBERS = ("members", "identities")
OF_DAYS = ("events", "exposures")
OF_ALL = ("sales", "curation", "stock")


@dataclass(frozen=True)
class Shard:
    """A block of a past to be written."""

    past: str
    out: str
    block: int


def write_tables(past: Path, out: Path, *, spread: Spread = in_turn) -> dict[str, int]:
    """Write what the shop has on record of a streamed past; return rows by table.

    Each table is a folder of parquet files below `out`, which appears when all are there. Their
    rows, read in the order of the files' names, are those of `Played.tables()`.

    Raises:
        SettingError: `out` is there already.
    """
    vacant(out)
    whole = Past(past)
    draft = out.with_name(f"{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    for table in (*OF_MEMBERS, *OF_DAYS, *OF_ALL):
        (draft / table).mkdir(parents=True)
    counts = dict.fromkeys((*OF_MEMBERS, *OF_DAYS, *OF_ALL), 0)
    shop = shop_tables(whole.world, whole.state)
    for table in OF_ALL:
        counts[table] = _write(getattr(shop, table), draft / table, "all")
    jobs = [Shard(str(past), str(draft), block) for block in range(whole.store.blocks)]
    for written in spread(write_shard, jobs):
        for table, rows in written.items():
            counts[table] += rows
    draft.rename(out)
    return counts


def vacant(out: Path) -> None:
    """Check that nothing is where tables are to be written.

    Raises:
        SettingError: something is.
    """
    if out.exists():
        raise SettingError(f"{out} is there already", "name another folder, or remove it")


def write_shard(job: Shard) -> dict[str, int]:
    """Write the tables of a block of members; return rows by table."""
    past, out, name = Past(Path(job.past)), Path(job.out), f"b{job.block:05d}"
    world, store = past.world, past.store
    rows = store.rows(job.block)
    some = Some(rows.start, rows.stop)
    counts = {
        "members": _write(members_table(world, past.state, some), out / "members", name),
        "identities": _write(identities_table(world, some), out / "identities", name),
        "events": 0,
        "exposures": 0,
    }
    for day in range(store.spec.num_days):
        log = store.log(day, job.block)
        for table, make in (("events", events_table), ("exposures", exposures_table)):
            counts[table] += _write(make(world, log, some), out / table, f"d{day:04d}-{name}")
    return counts


def _write(frame: pl.DataFrame, folder: Path, name: str) -> int:
    """Write a frame to a file of its table's folder; return its rows."""
    frame.write_parquet(folder / f"{name}.parquet")
    return frame.height
