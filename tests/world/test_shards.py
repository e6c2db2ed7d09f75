from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys.data import EventTable, Table, TablesSource, sources
from recsys.data.contract import check
from recsys.domain.errors import SettingError
from recsys.world import FlashSales, Played, play, processes, stream, write_tables

SPEC = FlashSales(members=700, days=9)
TABLES = ("members", "sales", "exposures", "curation", "stock", "identities")


@pytest.fixture(scope="module")
def played() -> Played:
    return play(SPEC)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("past")
    stream(SPEC, folder, block=97)
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_tables_written_by_day_and_block_are_those_of_a_played_past(
    tmp_path: Path, world: Path, played: Played, workers: int
) -> None:
    with processes(workers) as spread:
        counts = write_tables(world, tmp_path / "out", spread=spread)
    tables = played.tables()
    for table in ("events", *TABLES):
        found = pl.read_parquet(tmp_path / "out" / table / "*.parquet")
        assert_frame_equal(found, getattr(tables, table))
        assert counts[table] == found.height


def test_the_shops_own_reader_makes_the_same_dataset_of_them(
    tmp_path: Path, world: Path, played: Played
) -> None:
    out = tmp_path / "out"
    write_tables(world, out)
    source = TablesSource(
        zone=SPEC.zone,
        events=EventTable(path=str(out / "events")),
        **{table: Table(path=str(out / table)) for table in TABLES},
    )
    ours = check(sources.read(source), source).dataset
    theirs = check(played.tables(), SPEC).dataset
    for name in ("member_ptr", "sale", "at", "kind", "channel", "flags", "value"):
        np.testing.assert_array_equal(getattr(ours.events, name), getattr(theirs.events, name))
    assert_frame_equal(ours.exposures, theirs.exposures)
    assert_frame_equal(ours.stock, theirs.stock)
    assert ours.members["member"].equals(theirs.members["member"])
    assert ours.sales["sale"].equals(theirs.sales["sale"])


def test_tables_that_are_there_are_not_written_over(tmp_path: Path, world: Path) -> None:
    write_tables(world, tmp_path / "out")
    with pytest.raises(SettingError, match="is there already"):
        write_tables(world, tmp_path / "out")
