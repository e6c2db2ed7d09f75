"""Members dealt into shards, and the files of a shard made: in any process, as often as needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.campaign.arms import assign
from recsys.campaign.mailing import write_csv
from recsys.campaign.pace import Way
from recsys.campaign.slate_columns import SLATE_LOG, check_rows
from recsys.domain.disk import reading
from recsys.domain.ledger import put
from recsys.domain.manifest import JSON
from recsys.runs.slates_seat import seat_of
from recsys.runs.slates_sending import Dealt, Filled, Job, Sending

DEALT, WAY = "dealt", ".way"
"""Beside the shards: which members each has, and how the next ones are made."""


@dataclass(frozen=True)
class Deciding:
    """Makes one shard, in any process: called with its number."""

    folder: Path
    """Of the ledger; an absolute path."""
    job: Job

    def __call__(self, number: int) -> Mapping[str, Any]:
        """Write the slates of the members dealt to a shard; return what is in it.

        Raises:
            ArtefactError: the bundle cannot be used.
            NoRoomError, DeviceError: the system refused.
        """
        job = self.job
        rerank = job.rerank.model_dump_json()
        sending = Sending(seat_of(job.bundle, job.fingerprint, job.at, rerank=rerank), job)
        way = told(self.folder)
        filled = sending.fill(read_dealt(self.folder, number, job), way)
        said = sending.said(filled)
        write(sending, filled, self.folder, number=number, said=said)
        return said


def deal(folder: Path, number: int, frame: pl.DataFrame) -> None:
    """Note in the folder of a ledger which members a shard has: columns id, row."""

    def note(path: Path) -> Mapping[str, JSON]:
        frame.write_parquet(path, compression="lz4")
        return {"members": len(frame)}

    (folder / DEALT).mkdir(exist_ok=True)
    put(folder, _dealt(number), note)


def read_dealt(folder: Path, number: int, job: Job) -> Dealt:
    """Return the members of a shard.

    Raises:
        ArtefactError: the system refused.
    """
    path = folder / _dealt(number)
    with reading(path):
        frame = pl.read_parquet(path)
    ids, rows = frame["id"], frame["row"].to_numpy()
    group = np.zeros(len(ids), dtype=np.int16) if job.arms is None else assign(ids, job.arms)
    return Dealt(ids, rows, group)


def tell(folder: Path, way: Way) -> None:
    """Say how the shards that are begun from now on are made."""
    draft = folder / f"{WAY}.{os.getpid()}"
    draft.write_text(way.name.lower(), encoding="utf-8")
    draft.replace(folder / WAY)


def told(folder: Path) -> Way:
    """Return how a shard that is begun now is made."""
    with reading(folder / WAY):
        return Way[(folder / WAY).read_text(encoding="utf-8").upper()]


def write(
    sending: Sending, filled: Filled, folder: Path, *, number: int, said: Mapping[str, JSON]
) -> None:
    """Put the files of a shard: where one is made anew, all are."""
    mail, log = sending.mail_rows(filled), sending.log_rows(filled)
    check_rows(log, SLATE_LOG, f"shard {number}")
    writers: dict[str, Callable[[Path], Any]] = {
        "campaign.parquet": mail.write_parquet,
        "campaign.csv": partial(write_csv, mail),
        "log.parquet": log.write_parquet,
    }
    for kind, name in zip(sending.job.kinds, sending.job.names(number), strict=True):
        put(folder, name, partial(_written, writers[kind], said))


def _written(
    writer: Callable[[Path], Any], said: Mapping[str, JSON], path: Path
) -> Mapping[str, JSON]:
    writer(path)
    return said


def _dealt(number: int) -> str:
    return f"{DEALT}/part-{number:05}.parquet"
