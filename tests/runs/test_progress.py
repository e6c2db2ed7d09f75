from __future__ import annotations

import pytest

from recsys.runs.console import Console
from recsys.runs.progress import EVERY, Progress


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_a_line_says_how_much_is_done_how_fast_and_how_long_it_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    progress = Progress(Console(), 1_000, "vectors", before=200, now=clock)
    clock.at += 10
    progress(200)
    assert capsys.readouterr().out == ("  made     400 of 1,000 vectors   20/s   0:30 left\n")
    # what an earlier run made tells nothing of the speed of this one
    assert progress.rate == pytest.approx(20)


def test_lines_come_now_and_then_and_not_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = Progress(Console(), 100, "vectors", now=clock)
    for _ in range(10):
        clock.at += EVERY / 2
        progress(10)
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_a_short_job_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(Console(), 3, "vectors", now=Clock())
    for _ in range(3):
        progress(1)
    assert not capsys.readouterr().out


def test_nothing_done_has_no_end_in_sight(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = Progress(Console(), 3, "vectors", now=clock)
    clock.at += 10
    progress(0)
    assert capsys.readouterr().out == "  made     0 of 3 vectors   0/s   ? left\n"
