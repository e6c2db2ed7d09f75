from __future__ import annotations

import errno
import json
import random
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from recsys.domain import verify
from recsys.domain.artefact import open_artefact, publish
from recsys.domain.errors import (
    ArtefactError,
    BrokenArtefactError,
    MissingArtefactError,
    OldLayoutError,
)
from recsys.domain.manifest import FileFact, Manifest, parse_manifest


def writer(content: str = "one") -> Callable[[Path], None]:
    def write(draft: Path) -> None:
        (draft / "sales").mkdir()
        (draft / "sales" / "ids.json").write_text(json.dumps([content] * 300))
        (draft / "members.csv").write_text("member\n" + "m1\n" * 200)
        (draft / "empty.txt").write_bytes(b"")

    return write


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def cut(path: Path, rng: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])


def zero(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    first = rng.randrange(len(data))
    zeroed = data[first : first + 512]
    data[first : first + 512] = bytes(len(zeroed))
    path.write_bytes(data)


def remove(path: Path, rng: random.Random) -> None:
    path.unlink()


def link(path: Path, rng: random.Random) -> None:
    path.rename(path.parents[2] / "elsewhere.json")
    path.symlink_to(path.parents[2] / "elsewhere.json")


@pytest.mark.parametrize("damage", [flip, cut, zero, remove, link])
@pytest.mark.parametrize("file", ["sales/ids.json", "members.csv", "manifest.json"])
def test_damage_is_caught_and_the_file_is_named(
    tmp_path: Path, damage: Callable[[Path, random.Random], None], file: str
) -> None:
    good = publish(tmp_path / "root", "toy", writer())
    rng = random.Random(f"{damage.__name__} {file}")
    for _ in range(25):
        shutil.copytree(good, bad := tmp_path / "root" / "bad")
        for path in bad.rglob("*.*"):
            path.chmod(0o644)
        damage(bad / file, rng)
        with pytest.raises(ArtefactError) as caught:
            open_artefact(bad, "toy")
        assert Path(file).name in str(caught.value)
        assert isinstance(caught.value, BrokenArtefactError | MissingArtefactError)
        shutil.rmtree(bad)


def test_surplus_and_swapped_files_are_caught(tmp_path: Path) -> None:
    folder = publish(tmp_path, "toy", writer())
    (folder / "sales" / "new.json").write_text("{}")
    with pytest.raises(BrokenArtefactError, match=r"new\.json is surplus"):
        open_artefact(folder, "toy")
    (folder / "sales" / "new.json").unlink()
    other = publish(tmp_path, "toy", writer("two"))
    shutil.copy(other / "sales" / "ids.json", tmp_path / "ids.json")
    (tmp_path / "ids.json").replace(folder / "sales" / "ids.json")
    with pytest.raises(BrokenArtefactError, match=r"ids\.json was changed"):
        open_artefact(folder, "toy")


def test_a_manifest_of_another_folder_is_caught(tmp_path: Path) -> None:
    folder, other = publish(tmp_path, "toy", writer()), publish(tmp_path, "toy", writer("two"))
    shutil.copy(other / "manifest.json", tmp_path / "manifest.json")
    (tmp_path / "manifest.json").replace(folder / "manifest.json")
    with pytest.raises(BrokenArtefactError, match="changed"):
        open_artefact(folder, "toy")


def test_another_kind_layout_or_no_folder_is_refused(tmp_path: Path) -> None:
    folder = publish(tmp_path, "toy", writer())
    with pytest.raises(BrokenArtefactError, match="describes a toy, wanted a bundle"):
        open_artefact(folder, "bundle")
    with pytest.raises(MissingArtefactError, match="nowhere"):
        open_artefact(tmp_path / "nowhere", "toy")
    older = Manifest(kind="toy", files={}, made_at="2026-01-01T00:00:00+00:00", layout=0)
    with pytest.raises(OldLayoutError, match="layout 0"):
        parse_manifest(older.to_bytes(), "old/manifest.json")


def test_a_link_in_place_of_the_folder_or_of_one_inside_is_refused(tmp_path: Path) -> None:
    folder = publish(tmp_path, "toy", writer())
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(BrokenArtefactError, match="is a link"):
        open_artefact(tmp_path / "link", "toy")
    (folder / "sales").rename(tmp_path / "elsewhere")
    (folder / "sales").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BrokenArtefactError, match="sales is surplus"):
        open_artefact(folder, "toy")


@pytest.mark.parametrize("path", ["../a.csv", "/etc/a.csv", "a/b/c/d.csv", ".a.csv", "a.pkl", "a"])
def test_a_manifest_that_lists_what_no_artefact_holds_is_refused(tmp_path: Path, path: str) -> None:
    fact = FileFact(bytes=0, sha256=sha256(b"").hexdigest())
    listed = Manifest(kind="toy", files={path: fact}, made_at="2026-01-01T00:00:00+00:00")
    (tmp_path / "manifest.json").write_bytes(listed.to_bytes())
    with pytest.raises(BrokenArtefactError, match="lists what no artefact holds"):
        open_artefact(tmp_path, "toy")


@pytest.mark.parametrize("size", [(4 << 20) + 1, 0])
def test_a_manifest_of_a_wrong_size_is_refused(tmp_path: Path, size: int) -> None:
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate(size)
    with pytest.raises(BrokenArtefactError, match=r"manifest\.json"):
        open_artefact(tmp_path, "toy")


def test_sizes_are_compared_before_any_content_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_is_read(path: Path) -> str:
        raise AssertionError(f"{path} is read")

    folder = publish(tmp_path, "toy", writer())
    monkeypatch.setattr(verify, "digest", nothing_is_read)
    (folder / "members.csv").chmod(0o644)
    (folder / "members.csv").write_text("longer than before" * 99)
    with pytest.raises(BrokenArtefactError, match=r"members\.csv has 1,782 bytes"):
        open_artefact(folder, "toy")


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error", str(path))

    folder = publish(tmp_path, "toy", writer())
    monkeypatch.setattr(verify, "digest", failing)
    with pytest.raises(ArtefactError, match=r"cannot read .*(csv|json|txt): Input/output error"):
        open_artefact(folder, "toy")
