from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys.domain import errors
from recsys.runs.guard import code_of, guarded

CODES: dict[type[errors.RecsysError], int] = {
    errors.SettingError: 2,
    errors.DataRefusedError: 3,
    errors.MissingArtefactError: 4,
    errors.BrokenArtefactError: 4,
    errors.OldLayoutError: 4,
    errors.GateError: 5,
    errors.DivergedError: 5,
    errors.NoRoomError: 6,
    errors.DeviceError: 6,
    errors.PortTakenError: 6,
    errors.UnknownMemberError: 2,
    errors.UnknownSaleError: 2,
    errors.InterruptedRunError: 130,
}


def raising(error: BaseException) -> Callable[[], None]:
    def task() -> None:
        raise error

    return task


@pytest.mark.parametrize("kind", CODES)
def test_each_error_has_its_exit_code_and_no_trace(
    kind: type[errors.RecsysError], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = guarded(raising(kind("what and where", "do this")), trace=tmp_path / "error.txt")
    assert code == CODES[kind]
    first = "what" if kind is errors.InterruptedRunError else "error: what"
    assert capsys.readouterr().err == f"{first} and where\n  do this\n"
    assert not (tmp_path / "error.txt").exists()


def test_every_error_of_the_tree_is_in_the_table() -> None:
    def below(kind: type[errors.RecsysError]) -> set[type[errors.RecsysError]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    assert below(errors.RecsysError) == CODES.keys() | {
        errors.RecsysError,
        errors.ArtefactError,
    }


def test_sigterm_has_its_own_code(tmp_path: Path) -> None:
    stopped = errors.InterruptedRunError("saved", signal_code=143)
    assert guarded(raising(stopped), trace=tmp_path / "error.txt") == 143


def test_ctrl_c_outside_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(KeyboardInterrupt()), trace=tmp_path / "error.txt") == 130
    assert capsys.readouterr().err == "interrupted; nothing was being written\n"


def test_a_bug_says_three_lines_and_keeps_its_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "error.txt"
    assert guarded(raising(ZeroDivisionError("by zero")), trace=trace) == 1
    assert len(capsys.readouterr().err.splitlines()) <= 4
    assert "ZeroDivisionError: by zero" in trace.read_text()
    assert "test_guard.py" in trace.read_text()


def test_a_trace_that_cannot_be_kept_is_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(raising(ValueError("x")), trace=tmp_path / "no" / "error.txt") == 1
    assert "nowhere" in capsys.readouterr().err


def test_a_full_disk_is_no_bug(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "runs/x")
    assert guarded(raising(full), trace=tmp_path / "error.txt") == 6
    assert "no room left on the disk (runs/x)" in capsys.readouterr().err
    assert guarded(raising(OSError(errno.EIO, "broken")), trace=tmp_path / "error.txt") == 1


def test_a_place_that_cannot_be_used_is_named_and_no_bug(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = FileNotFoundError(errno.ENOENT, "No such file or directory", "/proc/x")
    trace = tmp_path / "error.txt"
    assert guarded(raising(refused), trace=trace) == code_of(refused) == 6
    said = capsys.readouterr().err
    assert said.startswith("error: cannot use /proc/x: No such file or directory\n  name another")
    assert not trace.exists()


def test_a_pipe_between_processes_that_breaks_is_a_bug_of_ours(tmp_path: Path) -> None:
    assert guarded(raising(BrokenPipeError(errno.EPIPE, "x")), trace=tmp_path / "error.txt") == 1


def test_a_task_that_ends_well_has_code_zero() -> None:
    assert guarded(lambda: None) == 0
