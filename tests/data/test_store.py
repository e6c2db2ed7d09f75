from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from recsys.data.contract import check
from recsys.data.fingerprint import ARRAYS, FRAMES, fingerprint
from recsys.data.store import folder_name, load, save
from recsys.domain.errors import BrokenArtefactError, MissingArtefactError
from recsys.domain.source import Source
from tests.builders import tiny_dataset, tiny_tables

ROOT = Path(__file__).parents[2]


def test_a_dataset_comes_back_as_it_was(tmp_path: Path) -> None:
    before = tiny_dataset(members=12, days=5)
    after = load(save(before, tmp_path))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(after.events, name), getattr(before.events, name))
        assert getattr(after.events, name).dtype == getattr(before.events, name).dtype
    for name in FRAMES:
        assert getattr(after, name).equals(getattr(before, name))
    plain = {field.name for field in fields(before)} - {"events", *FRAMES}
    assert {name: getattr(after, name) for name in plain} == {
        name: getattr(before, name) for name in plain
    }
    assert fingerprint(after) == before.fingerprint


def test_an_endless_dataset_comes_back_too(tmp_path: Path) -> None:
    before = tiny_dataset(members=12, days=5, task="endless")
    after = load(save(before, tmp_path))
    assert (after.task, after.shelf_hours) == ("endless", 240.0)
    assert (
        after.shelf(after.watermark).sales.tolist() == before.shelf(before.watermark).sales.tolist()
    )


def test_arrays_of_events_are_mapped_not_read(tmp_path: Path) -> None:
    after = load(save(tiny_dataset(members=12, days=5), tmp_path))
    assert isinstance(after.events.at, np.memmap)


def test_saving_twice_makes_one_folder(tmp_path: Path) -> None:
    made = tiny_dataset(members=12, days=5)
    assert save(made, tmp_path) == save(made, tmp_path) == tmp_path / folder_name(made)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == [
        f"tiny-{made.fingerprint}"
    ]


@pytest.mark.parametrize("file", ["event_at.npy", "sales.parquet", "schema.json"])
def test_a_changed_file_is_refused_by_name(tmp_path: Path, file: str) -> None:
    folder = save(tiny_dataset(members=12, days=5), tmp_path)
    path = folder / file
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BrokenArtefactError, match=file):
        load(folder)


def test_no_folder_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(MissingArtefactError):
        load(tmp_path / "nothing")


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    here = check(tiny_tables(members=12, days=5), Source()).dataset.fingerprint
    code = "from tests.builders import tiny_dataset as t; print(t(members=12, days=5).fingerprint)"
    there = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == here
