from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys.domain.artefact import open_artefact, publish
from recsys.domain.errors import (
    ArtefactError,
    BrokenArtefactError,
    MissingArtefactError,
    OldLayoutError,
)
from recsys.domain.manifest import Manifest, parse_manifest


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
