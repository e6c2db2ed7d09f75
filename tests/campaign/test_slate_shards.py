from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.campaign.slate_columns import SLATE_LOG, kinds_of
from recsys.campaign.slate_log import rows_of
from recsys.campaign.slate_shards import log_chances, scan, write_shard
from recsys.domain import artefact
from recsys.domain.disk import Disk, take_lock
from recsys.domain.errors import (
    ArtefactError,
    DataRefusedError,
    MissingArtefactError,
    NoRoomError,
)
from recsys.domain.slates import PARTS
from recsys.rerank.utility import ordered_sum
from tests.campaign.logged import offered_for, send_of, slates_of


def rows_for(
    seed: int = 1, *, first: int = 0, last: int = 40, send: str = "friday"
) -> pl.DataFrame:
    slates = slates_of(seed, np.arange(first, last))
    return rows_of(slates, send_of(send), offered_for(slates, seed))


class FailingDisk(Disk):
    """Fails the n-th of its calls, as a full disk does."""

    def __init__(self, fail_at: int) -> None:
        self.left = fail_at

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def create(self, path: Path, data: bytes) -> None:
        path.write_bytes(data[: len(data) // 2])
        self._step()
        path.unlink()
        super().create(path, data)

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        super().rename(source, target)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_what_was_written_is_read_again_bit_for_bit_and_its_parts_add_up(tmp_path: Path) -> None:
    first, second = rows_for(last=25), rows_for(2, first=25)
    write_shard(second, tmp_path / "log", shard=1)
    write_shard(first, tmp_path / "log", shard=0)
    again = scan(tmp_path / "log").collect()
    assert dict(again.schema) == dict(kinds_of(SLATE_LOG))
    assert again.equals(pl.concat([first, second]), null_equal=True)
    amounts = np.stack([again[name].to_numpy() for name in PARTS])
    utility = ordered_sum(amounts[:-1])
    np.testing.assert_array_equal(again["utility"].to_numpy(), utility)
    np.testing.assert_array_equal(again["gain"].to_numpy(), utility + amounts[-1])


def test_a_repaired_slot_has_null_on_disk_and_nan_in_memory(tmp_path: Path) -> None:
    rows = rows_for()
    assert 0 < rows["repaired"].sum() < rows.height
    write_shard(rows, tmp_path, shard=0)
    again = scan(tmp_path).collect()
    assert again["log_propensity"].is_null().equals(again["repaired"])
    assert not again["log_propensity"].is_nan().any()
    np.testing.assert_array_equal(np.isnan(log_chances(again)), again["repaired"].to_numpy())


def test_a_shard_written_again_replaces_itself_and_nothing_else(tmp_path: Path) -> None:
    write_shard(rows_for(last=25), tmp_path, shard=0)
    write_shard(rows_for(2, first=25), tmp_path, shard=1)
    write_shard(rows_for(send="saturday"), tmp_path, shard=0)
    kept = (tmp_path / "friday.00001.parquet").read_bytes()
    retry = rows_for(3, last=25)
    assert write_shard(retry, tmp_path, shard=0) == tmp_path / "friday.00000.parquet"
    assert visible(tmp_path) == [
        "friday.00000.parquet",
        "friday.00001.parquet",
        "saturday.00000.parquet",
    ]
    assert pl.read_parquet(tmp_path / "friday.00000.parquet").equals(retry, null_equal=True)
    assert (tmp_path / "friday.00001.parquet").read_bytes() == kept


@pytest.mark.parametrize("fail_at", [0, 1])
@pytest.mark.parametrize("before", [True, False])
def test_a_disk_that_fails_leaves_the_log_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fail_at: int, before: bool
) -> None:
    if before:
        write_shard(rows_for(), tmp_path, shard=0)
    stood = {name: (tmp_path / name).read_bytes() for name in visible(tmp_path)}
    with monkeypatch.context() as patch:
        patch.setattr(artefact, "DISK", FailingDisk(fail_at))
        with pytest.raises(NoRoomError):
            write_shard(rows_for(2), tmp_path, shard=0)
    assert {name: (tmp_path / name).read_bytes() for name in visible(tmp_path)} == stood
    assert len([*tmp_path.iterdir()]) == len(stood)
    assert scan(tmp_path).collect().height == rows_for().height if before else not stood
    write_shard(rows_for(2), tmp_path, shard=0)
    assert scan(tmp_path).collect().equals(rows_for(2), null_equal=True)


def test_what_a_killed_attempt_left_behind_is_no_shard_and_no_obstacle(tmp_path: Path) -> None:
    draft = tmp_path / ".friday.00000.parquet.draft"
    draft.write_bytes(b"half a shard")
    with pytest.raises(MissingArtefactError, match="no slate log"):
        scan(tmp_path)
    write_shard(rows_for(), tmp_path, shard=0)
    assert [path.name for path in tmp_path.iterdir()] == ["friday.00000.parquet"]
    assert scan(tmp_path).collect().height == rows_for().height


def test_two_processes_never_write_one_shard_at_a_time(tmp_path: Path) -> None:
    handle = take_lock(tmp_path / ".friday.00000.parquet.lock")
    assert handle is not None
    with pytest.raises(ArtefactError, match="another process"):
        write_shard(rows_for(), tmp_path, shard=0)
    assert visible(tmp_path) == []
    write_shard(rows_for(), tmp_path, shard=1)
    os.close(handle)
    write_shard(rows_for(), tmp_path, shard=0)
    assert len([*tmp_path.iterdir()]) == 2


def test_a_log_can_be_published_as_an_artefact(tmp_path: Path) -> None:
    def write(draft: Path) -> None:
        write_shard(rows_for(), draft / "log", shard=0)

    folder = artefact.publish(tmp_path, "slates", write)
    assert scan(folder / "log").collect().equals(rows_for(), null_equal=True)


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("missing: arm", pl.exclude("arm")),
        ("foreign: more", [pl.all(), pl.lit(1).alias("more")]),
        ("slot is Int64, wanted Int16", pl.all().exclude("slot")),
    ],
)
def test_a_file_that_breaks_the_contract_is_refused_with_its_name(
    tmp_path: Path, said: str, wrong: pl.Expr
) -> None:
    rows = rows_for().select(wrong)
    if said.startswith("slot"):
        rows = rows.with_columns(rows_for()["slot"].cast(pl.Int64))
    with pytest.raises(DataRefusedError, match=said):
        write_shard(rows, tmp_path, shard=0)
    assert not [*tmp_path.iterdir()]
    write_shard(rows_for(), tmp_path, shard=0)
    rows.write_parquet(tmp_path / "friday.00007.parquet")
    with pytest.raises(DataRefusedError, match=f"00007(.|\\n)*{said}"):
        scan(tmp_path)


def test_columns_in_another_order_are_read_in_the_contracts(tmp_path: Path) -> None:
    rows = rows_for()
    rows.select(rows.columns[::-1]).write_parquet(tmp_path / "friday.00000.parquet")
    write_shard(rows_for(2, send="saturday"), tmp_path, shard=0)
    again = scan(tmp_path).filter(pl.col("send_id") == "friday").collect()
    assert again.equals(rows, null_equal=True)


def test_a_shard_is_of_one_send(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 sends"):
        write_shard(pl.concat([rows_for(), rows_for(send="saturday")]), tmp_path, shard=0)
    with pytest.raises(ValueError, match="0 sends"):
        write_shard(rows_for()[:0], tmp_path, shard=0)
