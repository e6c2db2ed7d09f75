"""A source's settings in, its checked dataset out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recsys import public
from recsys.data import sources
from recsys.data.contract import Checked, check
from recsys.data.spec import TablesSource
from recsys.domain.dataset import Dataset
from recsys.domain.errors import SettingError
from recsys.domain.source import Source
from recsys.domain.tables import Tables
from recsys.runs.spec import Data
from recsys.world.play import play
from recsys.world.spec import FlashSales
from recsys.world.truth import Truth

MOST_PLAYED = 30_000_000
"""Members x days of the built-in world that are played in memory, some 20 GB of it."""


@dataclass(frozen=True)
class Prepared:
    """A checked dataset and what is known of how it came to be."""

    dataset: Dataset
    source: Source
    checked: Checked
    notes: tuple[str, ...]
    """Facts of the source and of the contract that belong in the report."""
    truth: Truth | None = None
    """Known where the world is simulated."""
    of_the_past: bool = True
    """A simulated world or public set, whose now is the end of its data."""


def prepare(data: Data, *, folder: Path | None = None) -> Prepared:
    """Read a source and hold it to the data contract.

    `folder` is where quarantine.parquet goes.

    Raises:
        DataRefusedError: the tables cannot be used, or too many rows were set aside.
    """
    tables, truth = raw(data)
    checked = check(tables, data, folder=folder)
    return Prepared(
        dataset=checked.dataset,
        source=data,
        checked=checked,
        notes=(*tables.notes, *checked.warnings),
        truth=truth,
        of_the_past=not isinstance(data, TablesSource),
    )


def raw(data: Data) -> tuple[Tables, Truth | None]:
    """Return a source's tables as they are, and the truth of a simulated world."""
    match data:
        case FlashSales():
            if data.num_members * data.num_days > MOST_PLAYED:
                raise SettingError(
                    f"{data.num_members:,} members x {data.num_days} days do not fit into memory",
                    "write that past down in under 1 GB: recsys simulate data.size=large out=big",
                )
            played = play(data)
            return played.tables(), played.truth
        case TablesSource():
            return sources.read(data), None
        case _:
            return public.read(data), None
