from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys.domain.errors import (
    DataRefusedError,
    InterruptedRunError,
    NoRoomError,
    RecsysError,
)
from recsys.domain.stop import StopFlag
from recsys.runs.deaths import ONE_THREAD
from recsys.runs.executor import Executor, Local, Ray, run
from tests.runs import working
from tests.runs.starting import ROOT
from tests.runs.working import Squares, Waits

LOCAL = Local(processes=2)
RAY = Ray(tasks=2)
SIXTEEN = list(range(16))


def squares(executor: Executor, work: Squares, numbers: list[int]) -> dict[int, int]:
    found = list(run(executor, work, numbers))
    assert len(found) == len(numbers)
    return dict(found)


def wait_until(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # one that has ended and was not asked for yet is dead too
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_every_shard_is_done_once_and_comes_with_its_result(tmp_path: Path, processes: int) -> None:
    told: list[tuple[int, int]] = []
    work = Squares(str(tmp_path))
    found = list(run(Local(processes=processes), work, SIXTEEN, told=lambda *n: told.append(n)))
    assert sorted(found) == [(number, number**2) for number in SIXTEEN]
    assert told == [(done, 16) for done in range(1, 17)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{n}.0" for n in SIXTEEN)


def test_no_shards_start_no_process(tmp_path: Path) -> None:
    assert list(run(LOCAL, Squares(str(tmp_path)), [])) == []


def test_what_dies_is_replaced_and_its_shard_done_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = Squares(str(tmp_path), deadly=frozenset({0, 3, 4, 9, 15}))
    assert squares(LOCAL, work, SIXTEEN) == {n: n * n for n in SIXTEEN}
    tries = {n: len(list(tmp_path.glob(f"{n}.*"))) for n in SIXTEEN}
    assert tries == {n: 2 if n in work.deadly else 1 for n in SIXTEEN}
    assert "3: its worker died (SIGKILL); another takes it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("work", "error", "how"),
    [(working.always_dies, NoRoomError, "SIGKILL"), (working.leaves, RecsysError, "exit code 7")],
)
def test_a_shard_that_kills_five_workers_is_named(
    work: Callable[[int], None], error: type[RecsysError], how: str
) -> None:
    with pytest.raises(error, match=rf"5 was the death of 5 workers \({how}\)") as refused:
        list(run(LOCAL, work, [5]))
    assert type(refused.value) is error


def test_an_error_of_the_work_is_raised_here() -> None:
    with pytest.raises(DataRefusedError, match=r"no member 7\n  look at the table"):
        list(run(LOCAL, working.refuses, [7]))
    with pytest.raises(RuntimeError, match="ZeroDivisionError: of 7"):
        list(run(LOCAL, working.breaks, [7]))


def test_a_worker_has_one_thread_a_library_and_the_driver_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("POLARS_MAX_THREADS", raising=False)
    ((_, (pid, seen)),) = run(LOCAL, working.surroundings, [1])
    assert pid != os.getpid()
    assert seen == ONE_THREAD
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "POLARS_MAX_THREADS" not in os.environ


def test_told_to_stop_it_finishes_what_is_in_flight(tmp_path: Path) -> None:
    stop = StopFlag()
    results = run(LOCAL, Waits(str(tmp_path)), SIXTEEN, stop=stop)
    Path(tmp_path, "go").touch()
    found = [next(results)]
    stop.handle(signal.SIGTERM, None)
    with pytest.raises(InterruptedRunError, match="parts are made, and stay") as stopped:
        found += results
    assert stopped.value.signal_code == 143
    assert 1 <= len(found) <= 4
    begun = {path.name.partition("-")[2] for path in tmp_path.glob("began-*")}
    ended = {path.name.partition("-")[2] for path in tmp_path.glob("ended-*")}
    assert begun == ended == {str(number) for number, _ in found}


def test_stopped_before_it_began_it_does_nothing(tmp_path: Path) -> None:
    stop = StopFlag()
    stop.handle(signal.SIGINT, None)
    with pytest.raises(InterruptedRunError, match="0 of 16 parts"):
        list(run(LOCAL, Squares(str(tmp_path)), SIXTEEN, stop=stop))
    assert list(tmp_path.iterdir()) == []


def test_who_takes_no_more_results_leaves_no_process_behind(tmp_path: Path) -> None:
    results = run(LOCAL, Waits(str(tmp_path)), SIXTEEN)
    Path(tmp_path, "go").touch()
    next(results)
    pids = [int(path.read_text()) for path in tmp_path.glob("began-*") if path.read_text()]
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert pids
    assert not any(is_alive(pid) for pid in pids)


DRIVER = """
import sys
from recsys.domain.stop import StopFlag
from recsys.runs.executor import Local, run
from recsys.runs.guard import guarded
from tests.runs.working import Waits

def task():
    with StopFlag().listening() as stop:
        for shard, _ in run(Local(processes=2), Waits(sys.argv[1]), range(9), stop=stop):
            print(shard, flush=True)

if __name__ == "__main__":
    sys.exit(guarded(task))
"""


@pytest.fixture
def driver(tmp_path: Path) -> subprocess.Popen[str]:
    """A driver in a process group of its own, as a terminal makes it, with two shards in flight."""
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    started = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: len([p for p in tmp_path.glob("began-*") if p.read_text()]) == 2)
    return started


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_all_of_them_ends_in_order(
    tmp_path: Path, driver: subprocess.Popen[str], number: signal.Signals, code: int
) -> None:
    # as Ctrl-C in a terminal and a scheduler's SIGTERM do
    os.killpg(driver.pid, number)
    Path(tmp_path, "go").touch()
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == code, err
    assert sorted(out.split()) == ["0", "1"]
    assert "interrupted: 2 of 9 parts are made, and stay" in err
    assert "go on: python driver.py" in err
    assert "Traceback" not in err
    assert len(list(tmp_path.glob("ended-*"))) == 2


def test_workers_of_a_driver_that_was_killed_end_their_shard_and_leave(
    tmp_path: Path, driver: subprocess.Popen[str]
) -> None:
    pids = [int(path.read_text()) for path in tmp_path.glob("began-*")]
    driver.kill()
    driver.wait(timeout=60)
    assert all(is_alive(pid) for pid in pids)
    Path(tmp_path, "go").touch()
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
    driver.communicate()
    assert len(list(tmp_path.glob("ended-*"))) == 2
