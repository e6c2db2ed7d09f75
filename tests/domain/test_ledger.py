from __future__ import annotations

import errno
import json
import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from recsys.domain import artefact, ledger
from recsys.domain.artefact import open_artefact
from recsys.domain.disk import Disk, take_lock
from recsys.domain.errors import ArtefactError, NoRoomError
from recsys.domain.ledger import Ledger, ShardPlan, work_folder
from tests.domain.sharding import PLAN, bytes_of, made, names

SMALL = replace(PLAN, shards=PLAN.shards[:1])
STEPS = 18
"""Calls of the disk that can fail while SMALL is made and published."""


def finished(held: Ledger, name: str = "noon") -> Path:
    return held.finish(
        name=name,
        parents={"bundle": "abc"},
        counts={"members": 28},
        watermark=5,
        decided_at=6,
        extra={"dim": 4},
    )


def all_made(root: Path, plan: ShardPlan = PLAN) -> Path:
    with Ledger.open(root, plan) as held:
        for shard in held.missing():
            made(held.folder, shard)
        return finished(held)


class FailingDisk(Disk):
    """Fails the n-th of its calls, as a full disk does."""

    def __init__(self, fail_at: int) -> None:
        self.left = fail_at

    def _step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def create(self, path: Path, data: bytes) -> None:
        self._step()
        super().create(path, data)

    def sync(self, path: Path) -> None:
        self._step()
        super().sync(path)

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        super().rename(source, target)


def test_equal_plans_have_equal_names_and_what_the_bytes_depend_on_changes_them() -> None:
    again = ShardPlan("export", {"dtype": "fp32", "bundle": "abc"}, PLAN.shards)
    assert again.fingerprint == PLAN.fingerprint
    others = [
        replace(PLAN, kind="slates"),
        replace(PLAN, facts={"bundle": "abc", "dtype": "int8"}),
        replace(PLAN, shards=PLAN.shards[:-1]),
    ]
    assert len({PLAN.fingerprint, *(other.fingerprint for other in others)}) == 4
    assert len(PLAN.fingerprint) == 16


@pytest.mark.parametrize("shards", [(), ("a.parquet", "a.parquet"), ("../a",), ("/a",), (".a",)])
def test_a_plan_names_files_that_an_artefact_may_hold_each_once(shards: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"name"):
        replace(PLAN, shards=shards)


def test_what_is_put_is_there_and_the_rest_is_missing(tmp_path: Path) -> None:
    with Ledger.open(tmp_path, PLAN) as held:
        assert held.missing() == list(PLAN.shards)
        fact = made(held.folder, PLAN.shards[2])
        assert held.missing() == [PLAN.shards[0], PLAN.shards[1], PLAN.shards[3]]
        assert held.facts() == {PLAN.shards[2]: fact}
        assert (fact.said, fact.bytes) == ({"rows": 7}, len(bytes_of(PLAN.shards[2])))
    assert Ledger.peek(tmp_path, PLAN) == {PLAN.shards[2]: fact}


def test_looking_at_a_plan_makes_nothing(tmp_path: Path) -> None:
    assert Ledger.peek(tmp_path / "not there", PLAN) == {}
    assert list(tmp_path.iterdir()) == []


def test_the_next_driver_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    with Ledger.open(tmp_path, PLAN) as held:
        made(held.folder, PLAN.shards[0])
    with Ledger.open(tmp_path, PLAN) as held:
        assert held.missing() == list(PLAN.shards[1:])


@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "gone", "no fact", "torn fact"])
def test_a_damaged_shard_is_missing_and_is_made_again(tmp_path: Path, damage: str) -> None:
    whole, hurt = PLAN.shards[0], PLAN.shards[1]
    with Ledger.open(tmp_path, PLAN) as held:
        made(held.folder, whole)
        made(held.folder, hurt)
        path = held.folder / hurt
        fact = path.with_name(f"{path.name}.fact.json")
        for file in (path, fact):
            file.chmod(0o644)
        data = path.read_bytes()
        match damage:
            case "flip":
                path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
            case "cut":
                path.write_bytes(data[:-1])
            case "longer":
                path.write_bytes(data + b"x")
            case "gone":
                path.unlink()
            case "no fact":
                fact.unlink()
            case _:
                fact.write_bytes(fact.read_bytes()[:20])
        assert hurt in held.missing()
        assert whole not in held.missing()
        made(held.folder, hurt)
        assert held.missing() == list(PLAN.shards[2:])


def test_a_fact_of_another_shard_vouches_for_nothing(tmp_path: Path) -> None:
    with Ledger.open(tmp_path, PLAN) as held:
        made(held.folder, PLAN.shards[0])
        first, second = (held.folder / shard for shard in PLAN.shards[:2])
        for ending in ("", ".fact.json"):
            second.with_name(second.name + ending).write_bytes(
                first.with_name(first.name + ending).read_bytes()
            )
        assert held.missing() == list(PLAN.shards[1:])


def test_two_drivers_do_not_work_on_one_plan(tmp_path: Path) -> None:
    other = replace(PLAN, facts={"bundle": "other"})
    refused = pytest.raises(ArtefactError, match="another process works on this export")
    with Ledger.open(tmp_path, PLAN), Ledger.open(tmp_path, other), refused:
        Ledger.open(tmp_path, PLAN)
    with Ledger.open(tmp_path, PLAN) as held:
        assert held.missing() == list(PLAN.shards)


def test_all_shards_become_one_artefact_and_nothing_else_is_left(tmp_path: Path) -> None:
    folder = all_made(tmp_path)
    assert folder == tmp_path / "noon"
    manifest = open_artefact(folder, "export")
    assert set(manifest.files) == set(PLAN.shards)
    assert (manifest.parents, manifest.counts) == ({"bundle": "abc"}, {"members": 28})
    assert (manifest.watermark, manifest.decided_at) == (5, 6)
    for shard in PLAN.shards:
        assert (folder / shard).read_bytes() == bytes_of(shard)
    assert names(tmp_path) == ["noon"]


def test_a_shard_is_published_without_a_copy(tmp_path: Path) -> None:
    with Ledger.open(tmp_path, PLAN) as held:
        for shard in PLAN.shards:
            made(held.folder, shard)
        before = {shard: (held.folder / shard).stat().st_ino for shard in PLAN.shards}
        folder = finished(held)
    assert {shard: (folder / shard).stat().st_ino for shard in PLAN.shards} == before


def test_what_is_not_whole_is_not_published(tmp_path: Path) -> None:
    with Ledger.open(tmp_path, PLAN) as held:
        for shard in PLAN.shards[:-1]:
            made(held.folder, shard)
        with pytest.raises(ArtefactError, match=r"1 of 4 shards are missing.*part-00003"):
            finished(held)
        made(held.folder, PLAN.shards[-1])
        damaged = held.folder / PLAN.shards[0]
        damaged.chmod(0o644)
        damaged.write_bytes(b"x" + damaged.read_bytes()[1:])
        with pytest.raises(ArtefactError, match=r"1 of 4 shards are missing.*part-00000"):
            finished(held)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_a_name_that_is_taken_by_another_is_left_alone(tmp_path: Path) -> None:
    first = all_made(tmp_path)
    other = replace(PLAN, shards=("members/other.parquet",))
    with Ledger.open(tmp_path, other) as held:
        made(held.folder, "members/other.parquet")
        second = finished(held)
    assert (first.name, second.name) == ("noon", "noon-2")
    assert set(open_artefact(first, "export").files) == set(PLAN.shards)
    assert set(open_artefact(second, "export").files) == {"members/other.parquet"}


def test_a_driver_that_died_after_publishing_is_followed_by_one_that_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class DiedError(Exception):
        pass

    def dies(_folder: Path) -> None:
        raise DiedError

    held = Ledger.open(tmp_path, PLAN)
    for shard in PLAN.shards:
        made(held.folder, shard)
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "read_manifest", dies)
        with pytest.raises(DiedError):
            finished(held, "first")
    held.close()
    with Ledger.open(tmp_path, PLAN) as later:
        assert later.missing() == []
        assert finished(later, "second").name == "first"
    assert names(tmp_path) == ["first"]


@pytest.mark.parametrize("fail_at", range(1, STEPS + 1))
def test_a_full_disk_at_any_write_leaves_what_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail_at: int
) -> None:
    monkeypatch.setattr(artefact, "DISK", FailingDisk(fail_at))
    with suppress(NoRoomError):
        all_made(tmp_path, SMALL)
    monkeypatch.setattr(artefact, "DISK", Disk())
    for path in tmp_path.glob("*/manifest.json"):
        open_artefact(path.parent, "export")
    if names(tmp_path) != ["noon"]:
        all_made(tmp_path, SMALL)
    assert names(tmp_path) == ["noon"]
    open_artefact(tmp_path / "noon", "export")


def test_a_full_disk_was_met_at_every_step_of_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FailingDisk(10_000)
    monkeypatch.setattr(artefact, "DISK", disk)
    all_made(tmp_path, SMALL)
    assert 10_000 - disk.left == STEPS


def test_drafts_of_the_dead_are_swept_and_those_of_the_living_stay(tmp_path: Path) -> None:
    with Ledger.open(tmp_path, PLAN) as held:
        made(held.folder, PLAN.shards[0])
        for name in (".draft-1-dead", ".draft-2-alive"):
            (held.folder / name).mkdir()
            (held.folder / f"{name}.lock").touch()
    alive = take_lock(held.folder / ".draft-2-alive.lock")
    assert alive is not None
    with Ledger.open(tmp_path, PLAN) as held:
        assert [path.name for path in held.folder.glob(".draft-*[de]")] == [".draft-2-alive"]
    os.close(alive)


def test_plans_that_nobody_took_up_for_a_week_are_removed(tmp_path: Path) -> None:
    old, young, busy = (replace(PLAN, facts={"bundle": name}) for name in ("old", "young", "busy"))
    for plan in (old, young):
        with Ledger.open(tmp_path, plan) as held:
            made(held.folder, PLAN.shards[0])
    working = Ledger.open(tmp_path, busy)
    for plan in (old, busy):
        lock = tmp_path / f"{work_folder(tmp_path, plan).name}.lock"
        then = time.time() - ledger.KEPT_SECONDS - 60
        os.utime(lock, (then, then))
    with Ledger.open(tmp_path, PLAN):
        there = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    working.close()
    assert there == {work_folder(tmp_path, plan).name for plan in (young, busy, PLAN)}


def test_a_driver_that_made_nothing_leaves_nothing(tmp_path: Path) -> None:
    Ledger.open(tmp_path, PLAN).close()
    assert names(tmp_path) == []


def test_the_work_folder_says_what_is_being_made(tmp_path: Path) -> None:
    with Ledger.open(tmp_path, PLAN) as held:
        said = json.loads((held.folder / "plan.json").read_bytes())
        assert said == {"kind": PLAN.kind, "facts": PLAN.facts, "shards": list(PLAN.shards)}
