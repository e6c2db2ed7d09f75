from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from recsys.data.spec import EventTable, Table, TablesSource
from recsys.domain.errors import (
    DataRefusedError,
    DeviceError,
    MissingArtefactError,
    NoRoomError,
    SettingError,
)
from recsys.public.spec import Globo
from recsys.runs.plan import plan
from recsys.runs.spec import Train
from recsys.runs.train import train
from recsys.towers.spec import Gpu
from tests.builders import ZONE, tiny_tables
from tests.runs.starting import recsys

NO_GPU = "torch.cuda.is_available"
pytestmark = pytest.mark.usefixtures("away")


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(NO_GPU, lambda: False)


def source(**events: str) -> TablesSource:
    tables = tiny_tables()
    tables.events.write_parquet("events.parquet")
    tables.sales.write_parquet("sales.parquet")
    return TablesSource(
        zone=ZONE,
        events=EventTable.model_validate({"path": "events.parquet"} | events),
        sales=Table(path="sales.parquet"),
    )


def test_a_plan_counts_what_the_files_hold_and_writes_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = source()
    before = sorted(Path().iterdir())
    plan(Train(data=data))
    said = capsys.readouterr().out
    events = tiny_tables().events
    assert f"{events.height:,} events" in said
    assert f"{events['member'].n_unique():,} members" in said
    assert "  device   cpu, " in said
    assert sorted(Path().iterdir()) == before
    assert all(len(line) <= 80 for line in said.splitlines())


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (Train(data=Globo(root="nope")), SettingError),
        (Train(trainer=Gpu()), DeviceError),
        (Train(resume="nope"), MissingArtefactError),
    ],
)
def test_what_is_not_there_ends_a_plan(spec: Train, error: type[Exception]) -> None:
    with pytest.raises(error):
        plan(spec)


def test_files_that_are_not_there_and_columns_they_lack_end_a_plan() -> None:
    data = source()
    Path("sales.parquet").unlink()
    with pytest.raises(DataRefusedError, match=r"no file at sales\.parquet"):
        plan(Train(data=data))
    lacking = source().model_dump()
    lacking["events"]["columns"] = {"at": "moment"}
    with pytest.raises(DataRefusedError, match="no column 'moment'"):
        plan(Train(data=TablesSource.model_validate(lacking)))


def test_a_disk_that_is_too_small_ends_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    used = shutil.disk_usage(".")
    monkeypatch.setattr("shutil.disk_usage", lambda _: used._replace(free=1_000_000))
    with pytest.raises(NoRoomError, match=r"runs: 0\.00 GiB free, a run may take"):
        plan(Train(data=source()))


def test_a_device_that_is_not_there_is_told_before_anything_is_made() -> None:
    with pytest.raises(DeviceError):
        train(Train(data=source(), trainer=Gpu()))
    assert not Path("runs").exists()


@pytest.mark.slow
def test_nothing_is_written_by_a_dry_run(tmp_path: Path) -> None:
    said = recsys(tmp_path, "train", "dry_run=true")
    assert said.returncode == 0, said.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"offline"}
    assert all(len(line) <= 80 for line in said.stdout.splitlines())
