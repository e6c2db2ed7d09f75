from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys.domain import artefact, verify
from recsys.domain import manifest as manifest_of
from recsys.domain.artefact import (
    DISK,
    current,
    open_artefact,
    open_current,
    point,
    publish,
)
from recsys.domain.disk import Disk
from recsys.domain.errors import (
    ArtefactError,
    BrokenArtefactError,
    MissingArtefactError,
    NoRoomError,
    SettingError,
)
from tests.reliability.faults import FaultyDisk


def writer(content: str = "one") -> Callable[[Path], None]:
    def write(draft: Path) -> None:
        (draft / "sales").mkdir()
        (draft / "sales" / "ids.json").write_text(json.dumps([content] * 300))
        (draft / "members.csv").write_text("member\n" + "m1\n" * 200)
        (draft / "empty.txt").write_bytes(b"")

    return write


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


def test_a_disk_that_cannot_be_read_does_not_displace_what_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error", str(path))

    folder = publish(tmp_path, "toy", writer(), name="step-1")
    monkeypatch.setattr(verify, "digest", failing)
    with pytest.raises(ArtefactError, match=r"cannot read .*step-1.*: Input/output error"):
        publish(tmp_path, "toy", writer(), name="step-1")
    monkeypatch.undo()
    open_artefact(folder, "toy")
    assert visible(tmp_path) == {"step-1"}
    assert not list(tmp_path.glob(".broken*"))


def test_files_are_synced_before_the_manifest_and_the_manifest_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FaultyDisk()
    monkeypatch.setattr(artefact, "DISK", disk)
    folder = publish(tmp_path / "root", "toy", writer())
    draft = next(name for call, name in disk.calls if call == "mkdir")
    assert disk.calls == [
        ("make_root", "root"),
        ("sync", tmp_path.name),
        ("mkdir", draft),
        # the mode before the sync: what is synced is what all may read
        ("chmod", "empty.txt"),
        ("sync", "empty.txt"),
        ("chmod", "members.csv"),
        ("sync", "members.csv"),
        ("chmod", "ids.json"),
        ("sync", "ids.json"),
        ("chmod", "sales"),
        ("sync", "sales"),
        ("sync", draft),
        ("create", "manifest.json"),
        ("chmod", draft),
        ("sync", draft),
        ("rename", folder.name),
        ("sync", "root"),
    ]
    disk.calls.clear()
    point(tmp_path / "root", folder.name)
    pointer = f".CURRENT.{os.getpid()}"
    assert disk.calls == [("create", pointer), ("rename", "CURRENT"), ("sync", "root")]


def test_what_is_written_is_on_the_disk_before_create_and_sync_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    disk = Disk()
    disk.create(tmp_path / "a.json", b"{}")
    disk.sync(tmp_path)
    assert synced == [(tmp_path / "a.json").stat().st_ino, tmp_path.stat().st_ino]
    with pytest.raises(FileExistsError):
        disk.create(tmp_path / "a.json", b"{}")


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_service_may_read_what_is_published_whatever_the_umask(
    tmp_path: Path, umask: int
) -> None:
    def write(draft: Path) -> None:
        assert draft.stat().st_mode & 0o777 == 0o700
        writer()(draft)
        (draft / "sales" / "nothing").mkdir()

    before = os.umask(umask)
    try:
        root = tmp_path / "above" / "root"
        folder = publish(root, "toy", write)
        point(root, folder.name)
    finally:
        os.umask(before)
    places = [root.parent, root, folder, *folder.rglob("*"), root / "CURRENT"]
    modes = {path: path.stat().st_mode & 0o777 for path in places}
    assert modes == {path: 0o755 if path.is_dir() else 0o444 for path in places}
    open_artefact(folder, "toy")


def test_a_writer_out_of_room_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    def write(draft: Path) -> None:
        (draft / "a.csv").write_text("a")
        raise OSError(errno.ENOSPC, "No space left on device", str(draft / "b.csv"))

    with pytest.raises(NoRoomError, match=r"b\.csv: No space"):
        publish(tmp_path, "toy", write)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("faiss: write error in x: 3 != 4 (No space left on device)"),
        ValueError("parquet: underlying IO error: No space left on device (os error 28)"),
        OSError("100000 requested and 4064 written"),
    ],
)
def test_libraries_that_say_it_in_their_own_words_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def write(draft: Path) -> None:
        (draft / "a.csv").write_text("a")
        os.utime(draft / "a.csv", (1, 1))
        (draft / "b.npy").write_text("half")
        raise error

    full = os.statvfs_result((4096, 4096, 9, 0, 0, 9, 9, 9, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    with pytest.raises(NoRoomError, match=r"cannot write .*b\.npy: No space"):
        publish(tmp_path, "toy", write)
    assert visible(tmp_path) == set()


def test_an_error_of_the_writer_itself_stays_what_it_is(tmp_path: Path) -> None:
    def write(draft: Path) -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        publish(tmp_path, "toy", write)
    assert visible(tmp_path) == set()


def test_too_little_room_is_said_before_the_first_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(draft: Path) -> None:
        raise AssertionError("nothing may be written")

    monkeypatch.setattr(DISK, "free_bytes", lambda _: 1_099)
    with pytest.raises(NoRoomError, match="1,099 bytes free, toy needs 1,100"):
        publish(tmp_path, "toy", write, bytes_needed=1_000)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(DISK, "free_bytes", lambda _: 1_100)
    publish(tmp_path, "toy", writer(), bytes_needed=1_000)


def test_a_list_of_files_too_long_to_be_read_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_of, "MAX_MANIFEST_BYTES", 500)
    with pytest.raises(SettingError, match="3 files make a manifest"):
        publish(tmp_path, "toy", writer())
    assert visible(tmp_path) == set()


@pytest.mark.parametrize("name", ["model.pkl", "net.pt", ".hidden.csv", "a b.csv"])
def test_files_that_run_code_or_have_odd_names_are_not_published(tmp_path: Path, name: str) -> None:
    def write(draft: Path) -> None:
        (draft / name).touch()

    with pytest.raises(ValueError, match="artefact"):
        publish(tmp_path, "toy", write)
    assert visible(tmp_path) == set()


def test_links_are_not_published(tmp_path: Path) -> None:
    def write(draft: Path) -> None:
        (draft / "a.csv").symlink_to("/etc/hostname")

    with pytest.raises(ValueError, match="no plain file"):
        publish(tmp_path, "toy", write)
    assert visible(tmp_path) == set()


@pytest.mark.parametrize("name", ["../x", "/etc", "a/b", "", ".x", "CURRENT", "x\n", "é"])
def test_names_cannot_leave_the_root(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        publish(tmp_path, "toy", writer(), name=name)
    with pytest.raises(ValueError, match="is no name"):
        point(tmp_path, name)


def test_what_a_killed_pointer_left_is_swept_and_a_retired_folder_is_not_pointed_at(
    tmp_path: Path,
) -> None:
    folder = publish(tmp_path, "toy", writer())
    (tmp_path / ".CURRENT.1").write_text("half")
    point(tmp_path, folder.name)
    assert not list(tmp_path.glob(".CURRENT*"))
    with pytest.raises(MissingArtefactError, match="nothing published"):
        point(tmp_path, "retired")
    assert current(tmp_path) == folder


def test_a_folder_that_is_retired_while_it_is_opened_is_followed_by_the_next(
    tmp_path: Path,
) -> None:
    old, new = publish(tmp_path, "toy", writer()), publish(tmp_path, "toy", writer("two"))
    point(tmp_path, old.name)

    def opens(folder: Path) -> str:
        if folder == old:
            point(tmp_path, new.name)
            old.rename(tmp_path / ".gone-old")
        return open_artefact(folder, "toy").fingerprint

    assert open_current(tmp_path, opens) == new.name
    (new / "members.csv").unlink()
    with pytest.raises(BrokenArtefactError, match=r"members\.csv is missing"):
        open_current(tmp_path, opens)


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
