from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from recsys.runs.console import Console, clock, complain, folded, say


def test_what_is_printed_stands_in_the_log_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(tmp_path / "log.txt")
    console.line("one")
    console.fact("name", "two", "three")
    assert capsys.readouterr().out == (tmp_path / "log.txt").read_text()
    assert (tmp_path / "log.txt").read_text() == "one\n  name     two\n           three\n"


def test_quiet_prints_the_result_alone_and_logs_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(tmp_path / "log.txt", quiet=True)
    console.line("one")
    console.result("runs/x")
    assert capsys.readouterr().out == "runs/x\n"
    assert (tmp_path / "log.txt").read_text() == "one\n"


def test_a_fact_that_is_too_wide_is_folded_at_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    Console().fact("split", "by time: " + ", ".join(["towers to 20 Nov"] * 8))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(len(line) <= 80 for line in lines)
    assert all(line.startswith(" " * 11) for line in lines[1:])


def test_words_are_never_broken_so_that_paths_can_be_copied() -> None:
    path = "runs/" + "long-name-" * 10
    assert folded(f"  see {path}") == ["  see", f"    {path}"]
    assert folded("") == [""]


def test_a_long_path_stays_on_the_line_that_says_error(capsys: pytest.CaptureFixture[str]) -> None:
    path = "runs/" + "x" * 80
    complain(f"{path}\n  was changed")
    assert capsys.readouterr().err == f"error: {path}\n  was changed\n"


def test_tables_align_numbers_right(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table([["", "kept"], ["sales", "7"], ["events", "12,345"]])
    assert capsys.readouterr().out == "            kept\n  sales        7\n  events  12,345\n"


def test_errors_and_farewells_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    complain("wrong\n  do this")
    say("interrupted")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "error: wrong\n  do this\ninterrupted\n")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (61, "1:01"), (3_725, "1:02:05")]
)
def test_durations(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_a_reader_who_leaves_stops_nothing_and_hears_nothing(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from recsys.runs.console import Console
console = Console(Path("log.txt"))
for number in range(3000):
    console.line(f"line {number} " + 60 * "x")
console.result("the end")
Path("done").touch()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("line 0")
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (0, "")
    assert (tmp_path / "done").exists()
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 3000
