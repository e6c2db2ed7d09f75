"""What a journal says is stored is stored, whatever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from recsys.domain import journal
from recsys.domain.errors import NoRoomError
from recsys.domain.journal import Journal, mend

WRITER = """
import sys
from pathlib import Path
from recsys.domain.journal import Journal
journal = Journal(Path(sys.argv[1]), "events", "number,text")
for number in range(1_000_000):
    journal.append(f"{number},{'x' * 50}\\n".encode()).result()
    print(number, flush=True)
"""


def lines(folder: Path) -> list[str]:
    return [
        line
        for path in sorted(folder.glob("events-*.csv"))
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]
    ]


def test_lines_stand_below_their_header_in_order(tmp_path: Path) -> None:
    written = Journal(tmp_path / "log", "events", "a,b")
    for number in range(20):
        written.append(f"{number},x\n".encode()).result(timeout=10)
    written.close()
    (path,) = (tmp_path / "log").iterdir()
    assert path.read_text(encoding="utf-8").splitlines() == [
        "a,b",
        *[f"{number},x" for number in range(20)],
    ]


def test_what_comes_together_is_synced_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, real = list[int](), os.fsync

    def slow(handle: int) -> None:
        synced.append(handle)
        time.sleep(0.01)
        real(handle)

    monkeypatch.setattr("recsys.domain.journal.os.fsync", slow)
    written = Journal(tmp_path, "events", "a")
    futures = [written.append(b"x\n") for _ in range(500)]
    for future in futures:
        future.result(timeout=10)
    written.close()
    assert len(lines(tmp_path)) == 500
    assert len(synced) < 50


def test_a_new_day_begins_a_new_file(tmp_path: Path) -> None:
    now = [0.0]
    written = Journal(tmp_path, "events", "a", clock=lambda: now[0])
    for _ in range(3):
        written.append(b"x\n").result(timeout=10)
        now[0] += 86_400
    written.close()
    assert len(list(tmp_path.glob("events-*.csv"))) == 3
    assert len(lines(tmp_path)) == 3


def test_a_disk_that_fails_is_told_and_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Journal(tmp_path, "events", "a")
    written.append(b"first\n").result(timeout=10)
    real = os.write

    def half(handle: int, data: memoryview) -> int:
        if len(data) > 4:
            return real(handle, data[:4])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recsys.domain.journal.os.write", half)
    failed = written.append(b"second\n")
    with pytest.raises(NoRoomError, match="No space left"):
        failed.result(timeout=10)
    monkeypatch.undo()
    written.append(b"third\n").result(timeout=10)
    written.close()
    assert sorted(lines(tmp_path)) == ["first\n", "third\n"]


def test_a_file_whose_header_was_not_stored_takes_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, real, failing = Journal(tmp_path, "events", "a"), os.fsync, [True]

    def once(handle: int) -> None:
        if failing.pop() if failing else False:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr("recsys.domain.journal.os.fsync", once)
    with pytest.raises(NoRoomError, match="No space left"):
        written.append(b"first\n").result(timeout=10)
    written.append(b"second\n").result(timeout=10)
    written.close()
    (path,) = tmp_path.glob("events-*.csv")
    assert path.read_bytes() == b"a\nsecond\n"


def test_who_no_longer_waits_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, real = Journal(tmp_path, "events", "a"), os.fsync

    def slow(handle: int) -> None:
        time.sleep(0.05)
        real(handle)

    monkeypatch.setattr("recsys.domain.journal.os.fsync", slow)
    written.append(b"first\n")
    written.append(b"second\n").cancel()
    written.append(b"third\n").result(timeout=10)
    written.close()
    assert "third\n" in lines(tmp_path)


def test_more_than_may_wait_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST_WAITING", 10)
    monkeypatch.setattr(Journal, "_store", lambda *_: time.sleep(0.2))
    written = Journal(tmp_path, "events", "a")
    refused = 0
    for _ in range(20):
        try:
            written.append(b"123456\n")
        except NoRoomError:
            refused += 1
    assert refused >= 15


def test_only_whole_lines_are_taken(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not end"):
        Journal(tmp_path, "events", "a").append(b"half")


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    written = Journal(tmp_path, "events", "a")
    waiting: list[Future[None]] = [written.append(b"x\n") for _ in range(100)]
    written.close()
    assert all(future.done() and future.exception() is None for future in waiting)
    with pytest.raises(ValueError, match="closed"):
        written.append(b"x\n")


def test_killed_it_has_lost_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            acknowledged = [int(writer.stdout.readline()) for _ in range(20)][-1]
            writer.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
        newest = max(tmp_path.glob("events-*.csv"), key=lambda path: path.stat().st_mtime_ns)
        mend(tmp_path, "events")
        kept = newest.read_text(encoding="utf-8").splitlines()[1:]
        assert [int(line.split(",")[0]) for line in kept][: acknowledged + 1] == list(
            range(acknowledged + 1)
        )


def test_half_a_line_of_the_dead_is_cut_and_the_living_are_left(tmp_path: Path) -> None:
    torn = tmp_path / "events-20260101T000000-dead.csv"
    torn.write_bytes(b"a\nwhole\nha")
    long = tmp_path / "events-20260101T000000-long.csv"
    long.write_bytes(b"a\n" + b"x" * 200_000)
    written = Journal(tmp_path, "events", "a")
    written.append(b"x\n").result(timeout=10)
    (living,) = [path for path in tmp_path.iterdir() if path not in {torn, long}]
    with living.open("ab") as file:
        file.write(b"being written")
    assert mend(tmp_path, "events") == 2
    assert torn.read_bytes() == b"a\nwhole\n"
    assert long.read_bytes() == b"a\n"
    assert living.read_bytes().endswith(b"being written")
    assert mend(tmp_path, "events") == 0
    written.close()
