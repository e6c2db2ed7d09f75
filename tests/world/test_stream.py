from __future__ import annotations

import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from recsys.domain.disk import take_lock
from recsys.domain.errors import (
    ArtefactError,
    MissingArtefactError,
    NoRoomError,
    SettingError,
)
from recsys.world import FlashSales, Past, Played, play, processes, stream
from recsys.world.log import Log, join
from recsys.world.members import Members, joining, make_members, members_at
from recsys.world.spread import Spread, in_turn
from recsys.world.state import State

SPEC = FlashSales(members=700, days=9)
Job = TypeVar("Job")
Done = TypeVar("Done")


def same(first: Log | State | Members, second: Log | State | Members) -> None:
    for field in fields(first):
        one, other = getattr(first, field.name), getattr(second, field.name)
        np.testing.assert_array_equal(one, other, err_msg=field.name)
        assert np.asarray(one).dtype == np.asarray(other).dtype, field.name


def same_past(past: Past, played: Played) -> None:
    same(join(list(past.logs())), played.log)
    same(past.state, played.state)
    same(past.world.members, played.world.members)
    assert past.totals == played.totals


def last_first(work: Callable[[Job], Done], jobs: Sequence[Job], /) -> Iterable[Done]:
    return map(work, jobs[::-1])


@pytest.fixture(scope="module")
def played() -> Played:
    return play(SPEC)


def test_members_can_be_made_in_any_parts() -> None:
    spec = FlashSales(members=5_000)
    whole = make_members(spec, days=30)
    rows = np.random.default_rng(0).permutation(5_000)[:700]
    some = members_at(spec, rows, joins=joining(spec, days=30))
    for field in fields(Members):
        np.testing.assert_array_equal(
            getattr(whole, field.name)[rows], getattr(some, field.name), err_msg=field.name
        )
    assert (np.diff(whole.joined_day) >= 0).all()


@pytest.mark.parametrize(("block", "backwards"), [(53, True), (256, False), (10_000, False)])
def test_a_streamed_past_has_the_bits_of_a_played_one(
    tmp_path: Path, played: Played, block: int, backwards: bool
) -> None:
    spread = last_first if backwards else in_turn
    same_past(stream(SPEC, tmp_path, block=block, spread=spread), played)


@pytest.mark.parametrize("policy", ["random", "popular", "taste"])
def test_a_streamed_past_has_them_under_every_policy(tmp_path: Path, policy: str) -> None:
    spec = FlashSales.model_validate({
        **SPEC.model_dump(),
        "logging_policy": policy,
        "days": 4,
        "seed": 5,
    })
    same_past(stream(spec, tmp_path, block=199), play(spec))


def test_two_processes_have_the_bits_of_one(tmp_path: Path, played: Played) -> None:
    with processes(2) as spread:
        same_past(stream(SPEC, tmp_path, spread=spread, block=200), played)


class _KilledError(Exception):
    """What stands in for the end of a process."""


def stopping_at(day: int, *, after: int) -> Spread:
    """Return a spread that stops on a day when some blocks have been written, last ones first."""

    def spread(work: Callable[[Job], Done], jobs: Sequence[Job], /) -> Iterator[Done]:
        for number, job in enumerate(jobs[::-1]):
            if getattr(job, "day", 99) == day and number == after:
                raise _KilledError
            yield work(job)

    return spread


@pytest.mark.parametrize(("day", "after"), [(0, 1), (3, 0), (5, 2), (8, 3), (9, 1), (99, 2)])
def test_a_past_that_was_cut_short_goes_on_with_equal_bits(
    tmp_path: Path, played: Played, day: int, after: int
) -> None:
    with pytest.raises(_KilledError):
        stream(SPEC, tmp_path, spread=stopping_at(day, after=after), block=200)
    with pytest.raises(
        ArtefactError, match=f"unfinished past: {min(max(day - 1, 0), 9)} of 9 days"
    ):
        Past(tmp_path)
    heard: list[tuple[int, int]] = []
    past = stream(SPEC, tmp_path, told=lambda done, days: heard.append((done, days)))
    same_past(past, played)
    assert heard == [(done, 9) for done in range(max(day, 1), 10)]


def test_a_turn_can_be_taken_again_with_equal_bits(tmp_path: Path, played: Played) -> None:
    def twice(work: Callable[[Job], Done], jobs: Sequence[Job], /) -> Iterator[Done]:
        for job in jobs:
            work(job)
            yield work(job)

    same_past(stream(SPEC, tmp_path, spread=twice, block=300), played)


def test_a_killed_process_leaves_what_another_goes_on_with(tmp_path: Path, played: Played) -> None:
    code = (
        "from pathlib import Path\n"
        "from time import sleep\n"
        "from recsys.world import FlashSales, processes, stream\n"
        "spec, folder = FlashSales(members=700, days=9), Path(" + repr(str(tmp_path)) + ")\n"
        "def wait(day, days): sleep(600 if day == 5 else 0)\n"
        "with processes(2) as spread:\n"
        "    stream(spec, folder, spread=spread, block=100, told=wait)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        until((tmp_path / "days" / "0002.npz").exists)
        workers = children(child.pid)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert len(workers) >= 2
    assert not (tmp_path / "by_member").exists()
    # nobody is left who would write there
    until(lambda: not any(map(is_alive, workers)))
    same_past(stream(SPEC, tmp_path), played)


def until(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 100
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.002)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(found) for task in tasks for found in task.read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_folder_of_another_world_is_refused(tmp_path: Path) -> None:
    stream(FlashSales(members=70, days=2), tmp_path)
    with pytest.raises(SettingError, match=r"another world: seed=1"):
        stream(FlashSales(members=70, days=2, seed=2), tmp_path)


def test_a_folder_without_a_world_is_no_past(tmp_path: Path) -> None:
    with pytest.raises(MissingArtefactError, match="holds no world"):
        Past(tmp_path)


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(NoRoomError, match=r"needs about 900,000\.0 GB"):
        stream(FlashSales(members=1_000_000_000_000, days=5), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]


def test_two_do_not_write_one_folder(tmp_path: Path) -> None:
    assert take_lock(tmp_path / ".lock") is not None
    with pytest.raises(ArtefactError, match="is being written"):
        stream(SPEC, tmp_path)


def peak(folder: Path, *, members: int, days: int) -> int:
    """Return the bytes that streaming a world held at most: numpy tells tracemalloc of its own."""
    spec = FlashSales(size="small", members=members, days=days)
    tracemalloc.start()
    try:
        stream(spec, folder, block=500)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_that_of_a_block_however_many_members_and_days(tmp_path: Path) -> None:
    peak(tmp_path / "warm", members=500, days=1)
    few = peak(tmp_path / "few", members=1_500, days=2)
    many = peak(tmp_path / "many", members=6_000, days=4)
    state = Past(tmp_path / "many").state
    held = sum(getattr(state, name).nbytes for name in ("known", "like", "shown"))
    # the rest is a day's attempts, and the counts of more blocks
    assert many - few < 120_000 < held / 8
