from __future__ import annotations

import socket
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from recsys.domain.errors import GateError
from recsys.runs import doctor as surgery
from recsys.runs.folder import LIBRARIES
from recsys.runs.spec import Doctor


@pytest.fixture
def healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for check in ("memory", "disk"):
        monkeypatch.setattr(surgery, check, lambda name=check: (name, True, "enough"))


def versions(known: dict[str, str]) -> Callable[[str], str]:
    def version(name: str) -> str:
        if name not in known:
            raise metadata.PackageNotFoundError(name)
        return known[name]

    return version


def test_a_healthy_machine_has_a_line_for_each_check(
    healthy: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    surgery.doctor(Doctor(port=0))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(LIBRARIES) + 8
    assert all(line.startswith("ok   ") and len(line) <= 80 for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_named(healthy: None, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        with pytest.raises(GateError, match="to fix: port"):
            surgery.doctor(Doctor(port=number))
    assert f"fix  port              {number} is taken: serve.port=" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("known", "good"),
    [
        ({"pytorch-lightning": "2.6.6"}, True),
        ({"pytorch-lightning": "2.6.3"}, False),
        ({"lightning": "2.6.6", "pytorch-lightning": "2.6.6"}, False),
        ({}, True),
    ],
)
def test_releases_that_were_malware_are_named(
    known: dict[str, str], good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "version", versions(known))
    assert surgery.lightning()[1] is good


@pytest.mark.parametrize(
    ("found", "good"), [("2.10.0", False), ("2.11.0", True), ("2.13.0+cpu", True)]
)
def test_old_libraries_are_named(found: str, good: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", versions({"torch": found}))
    assert surgery.library("torch")[1] is good
    assert not surgery.library("faiss-cpu")[1]


def test_a_folder_without_write_rights_is_named(
    healthy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    name, good, text = surgery.rename()
    assert (name, good) == ("write rights", False)
    assert text.startswith("Permission denied")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("always [madvise] never\n", "for large tensors"),
        ("[always] madvise never\n", "for large tensors"),
        ("always madvise [never]\n", "training on the CPU is slower"),
        (None, "unknown"),
    ],
)
def test_who_gets_large_pages_is_told(
    said: str | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "enabled"
    if said is not None:
        file.write_text(said, encoding="ascii")
    monkeypatch.setattr(surgery, "PAGES", file)
    name, good, text = surgery.pages()
    assert (name, good) == ("large pages", True)
    assert told in text
