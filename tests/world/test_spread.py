from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from recsys.domain.errors import RecsysError
from recsys.world import FlashSales, processes
from recsys.world.members import joining
from recsys.world.spread import in_turn
from recsys.world.turns import Turn, turn

SPEC = FlashSales(members=700, days=9)


def threads(job: int) -> tuple[int, str, int]:
    return job, os.environ["OPENBLAS_NUM_THREADS"], os.getpid()


def test_jobs_are_done_once_each_in_other_processes_of_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    monkeypatch.delenv("POLARS_MAX_THREADS", raising=False)
    with processes(2) as spread:
        done = list(spread(threads, range(20)))
    assert sorted(job for job, _, _ in done) == list(range(20))
    assert {told for _, told, _ in done} == {"1"}
    assert os.getpid() not in {pid for _, _, pid in done}
    assert os.environ["OPENBLAS_NUM_THREADS"] == "7"
    assert "POLARS_MAX_THREADS" not in os.environ


def test_in_turn_is_here_and_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert list(in_turn(threads, [4, 2])) == [(4, "3", os.getpid()), (2, "3", os.getpid())]


def die(job: int) -> int:
    signal.raise_signal(signal.SIGKILL)
    return job


def test_the_death_of_a_process_is_said(tmp_path: Path) -> None:
    with processes(2) as spread, pytest.raises(RecsysError, match="ended from outside"):
        list(spread(die, [1, 2, 3]))


def test_an_error_of_a_block_is_not_swallowed(tmp_path: Path) -> None:
    joins = joining(SPEC, days=9)
    with processes(2) as spread, pytest.raises(FileNotFoundError):
        list(spread(turn, [Turn(str(tmp_path), 0, block, joins) for block in range(2)]))
