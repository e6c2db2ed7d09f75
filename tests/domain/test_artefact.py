from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recsys.domain import artefact
from recsys.domain.artefact import (
    current,
    open_artefact,
    point,
    publish,
    read_manifest,
    retain,
    sweep,
)
from recsys.domain.disk import Disk
from recsys.domain.errors import (
    ArtefactError,
    MissingArtefactError,
    NoRoomError,
)


def writer(content: str = "one") -> Callable[[Path], None]:
    def write(draft: Path) -> None:
        (draft / "sales").mkdir()
        (draft / "sales" / "ids.json").write_text(json.dumps([content] * 300))
        (draft / "members.csv").write_text("member\n" + "m1\n" * 200)
        (draft / "empty.txt").write_bytes(b"")

    return write


class RecordingDisk(Disk):
    """Remembers every call, and fails the n-th."""

    def __init__(self, fail_at: int | None = None, code: int = errno.ENOSPC) -> None:
        self.calls: list[tuple[str, str]] = []
        self.fail_at, self.code = fail_at, code

    def _step(self, call: str, path: Path) -> None:
        self.calls.append((call, path.name))
        if len(self.calls) - 1 == self.fail_at:
            raise OSError(self.code, os.strerror(self.code))

    def mkdir(self, folder: Path) -> None:
        self._step("mkdir", folder)
        super().mkdir(folder)

    def create(self, path: Path, data: bytes) -> None:
        self._step("create", path)
        super().create(path, data)

    def sync(self, path: Path) -> None:
        self._step("sync", path)
        super().sync(path)

    def chmod(self, path: Path, mode: int) -> None:
        self._step("chmod", path)
        super().chmod(path, mode)

    def rename(self, source: Path, target: Path) -> None:
        self._step("rename", target)
        super().rename(source, target)


def visible(root: Path) -> set[str]:
    return {path.name for path in root.iterdir() if not path.name.startswith(".")}


def test_what_is_published_is_found_whole(tmp_path: Path) -> None:
    folder = publish(tmp_path, "toy", writer(), counts={"members": 200}, parents={"data": "ab"})
    manifest = open_artefact(folder, "toy")
    assert manifest.fingerprint == folder.name
    assert manifest.counts == {"members": 200}
    assert set(manifest.files) == {"sales/ids.json", "members.csv", "empty.txt"}
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*.*")} == {0o444}
    assert folder.stat().st_mode & 0o777 == 0o755 == (folder / "sales").stat().st_mode & 0o777
    assert not list(tmp_path.glob(".draft*"))


def test_the_same_bits_get_the_same_name_and_other_bits_another(tmp_path: Path) -> None:
    first = publish(tmp_path, "toy", writer())
    inode = first.stat().st_ino
    assert publish(tmp_path, "toy", writer()) == first
    assert first.stat().st_ino == inode
    assert publish(tmp_path, "toy", writer("two")) != first
    assert publish(tmp_path, "toy", writer(), parents={"run": "1"}) != first


def test_a_damaged_folder_gives_way_and_is_kept_for_inspection(tmp_path: Path) -> None:
    folder = publish(tmp_path, "toy", writer(), name="step-1")
    (folder / "members.csv").unlink()
    assert publish(tmp_path, "toy", writer(), name="step-1") == folder
    open_artefact(folder, "toy")
    assert len(list(tmp_path.glob(".broken-step-1-*"))) == 1


def test_files_are_synced_before_the_manifest_and_the_manifest_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = RecordingDisk()
    monkeypatch.setattr(artefact, "DISK", disk)
    folder = publish(tmp_path, "toy", writer())
    calls = [call for call in disk.calls if call[0] != "chmod"]
    draft = calls[0][1]
    assert calls == [
        ("mkdir", draft),
        ("sync", "empty.txt"),
        ("sync", "members.csv"),
        ("sync", "ids.json"),
        ("sync", "sales"),
        ("sync", draft),
        ("create", "manifest.json"),
        ("sync", draft),
        ("rename", folder.name),
        ("sync", tmp_path.name),
    ]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_failing_disk_leaves_the_old_artefact_and_no_half_of_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    old = publish(tmp_path, "toy", writer())
    point(tmp_path, old.name)
    counting = RecordingDisk()
    monkeypatch.setattr(artefact, "DISK", counting)
    publish(tmp_path / "elsewhere", "toy", writer("two"))
    steps = len(counting.calls)
    error = NoRoomError if code in {errno.ENOSPC, errno.EDQUOT} else ArtefactError
    for n in range(steps - 1):  # the last call syncs the root: by then the new one is whole
        monkeypatch.setattr(artefact, "DISK", RecordingDisk(n, code))
        with pytest.raises(error, match=r"cannot write .*(draft|json|csv)"):
            publish(tmp_path, "toy", writer("two"))
        assert visible(tmp_path) == {old.name, "CURRENT", "elsewhere"}
        open_artefact(current(tmp_path), "toy")
    assert not list(tmp_path.glob(".draft*"))


def test_a_failing_disk_leaves_the_pointer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = publish(tmp_path, "toy", writer()), publish(tmp_path, "toy", writer("two"))
    point(tmp_path, old.name)
    for n in range(2):
        monkeypatch.setattr(artefact, "DISK", RecordingDisk(n))
        with pytest.raises(NoRoomError):
            point(tmp_path, new.name)
        assert current(tmp_path) == old
        assert not list(tmp_path.glob(".CURRENT*"))


def test_a_writer_out_of_room_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    def write(draft: Path) -> None:
        (draft / "a.csv").write_text("a")
        raise OSError(errno.ENOSPC, "No space left on device", str(draft / "b.csv"))

    with pytest.raises(NoRoomError, match=r"b\.csv: No space"):
        publish(tmp_path, "toy", write)
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_is_said_before_the_first_write(tmp_path: Path) -> None:
    def write(draft: Path) -> None:
        raise AssertionError("nothing may be written")

    with pytest.raises(NoRoomError, match="bytes free"):
        publish(tmp_path, "toy", write, bytes_needed=1 << 60)


@pytest.mark.parametrize("name", ["model.pkl", "net.pt", ".hidden.csv", "a b.csv"])
def test_files_that_run_code_or_have_odd_names_are_not_published(tmp_path: Path, name: str) -> None:
    def write(draft: Path) -> None:
        (draft / name).touch()

    with pytest.raises(ValueError, match="artefact"):
        publish(tmp_path, "toy", write)
    assert visible(tmp_path) == set()


@pytest.mark.parametrize("name", ["../x", "/etc", "a/../b", "", ".x", "a/b/c/d", "x\n", "é"])
def test_names_cannot_leave_the_root(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        publish(tmp_path, "toy", writer(), name=name)
    with pytest.raises(ValueError, match="is no name"):
        point(tmp_path, name)


def test_current_is_refused_when_it_names_nothing(tmp_path: Path) -> None:
    with pytest.raises(MissingArtefactError, match="nothing to use"):
        current(tmp_path)
    folder = publish(tmp_path, "toy", writer())
    point(tmp_path, folder.name)
    shutil.rmtree(folder)
    with pytest.raises(MissingArtefactError, match=folder.name):
        current(tmp_path)
    (tmp_path / "CURRENT").write_text("../../etc\n")
    with pytest.raises(MissingArtefactError, match="not there"):
        current(tmp_path)


def test_only_drafts_of_dead_makers_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".draft-1-dead").mkdir()
    (tmp_path / ".draft-1-dead.lock").touch()

    def write(draft: Path) -> None:
        assert sweep(tmp_path) == 0
        writer()(draft)

    folder = publish(tmp_path, "toy", write)
    assert visible(tmp_path) == {folder.name}
    assert not list(tmp_path.glob(".draft*"))


def test_the_newest_the_current_the_young_and_the_parents_stay(tmp_path: Path) -> None:
    old = [publish(tmp_path, "toy", writer(f"{n}"), counts={"n": n}) for n in range(5)]
    child = publish(tmp_path, "toy", writer("child"), parents={"run": old[1].name})
    point(tmp_path, old[2].name)
    assert retain(tmp_path, keep=1) == []
    later = datetime.now(UTC) + timedelta(hours=2)
    gone = retain(tmp_path, keep=1, now=later)
    assert gone == sorted(folder.name for folder in (old[0], old[3], old[4]))
    assert visible(tmp_path) == {old[1].name, old[2].name, child.name, "CURRENT"}
    assert not list(tmp_path.glob(".gone*"))


PUBLISHER = """
import sys
from pathlib import Path
from recsys.domain.artefact import point, publish
root, first = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
for n in range(first, first + 100_000):
    def write(draft):
        (draft / "sub").mkdir()
        for part in range(3):
            (draft / "sub" / f"{part}.csv").write_text(f"{n}," * 5_000)
    point(root, publish(root, "toy", write, counts={"n": n}).name)
"""


def test_a_killed_publisher_leaves_a_whole_artefact(tmp_path: Path) -> None:
    point(tmp_path, publish(tmp_path, "toy", writer(), counts={"n": -1}).name)
    rng = random.Random(7)
    published = set()
    for turn in range(30):
        child = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, str(tmp_path), str(turn * 1000)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(rng.uniform(0.001, 0.12))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        manifest = open_artefact(current(tmp_path), "toy")
        published.add(manifest.counts["n"])
        for name in visible(tmp_path) - {"CURRENT"}:
            open_artefact(tmp_path / name, "toy")
            assert read_manifest(tmp_path / name).fingerprint == name
    assert len(published) > 3
    sweep(tmp_path)
    assert not list(tmp_path.glob(".draft*"))
