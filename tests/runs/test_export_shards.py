from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.domain.artefact import open_artefact
from recsys.domain.keys import keys_of
from recsys.domain.packed import read_vectors
from recsys.runs.export_shards import files_for
from tests.runs.starting import only
from tests.runs.vectors import DIM, UNIT, bundle_of, made, member_ids, sale_ids, vectors_of


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a bundle of 1,000 members and 90 sales."""
    bundle_of(tmp_path, member_ids(1000), sale_ids(90))
    return tmp_path


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such an export, made once and only read: its folder."""
    folder = tmp_path_factory.mktemp("once")
    bundle_of(folder, member_ids(1000), sale_ids(90))
    return made(folder, "out", "member_files=16", "rows_per_file=40")


def test_every_member_is_in_one_file_that_its_id_alone_decides(once: Path) -> None:
    files = sorted((once / "members").glob("*.parquet"))
    assert [file.name for file in files] == [f"part-{number:05}.parquet" for number in range(16)]
    found: dict[str, np.ndarray] = {}
    for number, file in enumerate(files):
        frame = pl.read_parquet(file)
        assert set(keys_of(frame["id"]) % np.uint64(16)) == {number}
        found |= dict(zip(frame["id"].to_list(), frame["vector"].to_numpy(), strict=True))
    assert found.keys() == set(member_ids(1000))
    for name, right in zip(member_ids(1000), vectors_of(member_ids(1000)), strict=True):
        assert np.array_equal(found[name], right)


def test_a_member_keeps_its_file_from_day_to_day_and_its_line_where_nobody_came(
    shop: Path, tmp_path: Path
) -> None:
    first = made(shop, "out", "member_files=8")
    later = tmp_path / "later"
    bundle_of(later, [*member_ids(1000)[::-1], *(f"new{n}" for n in range(500))], sale_ids(3))
    second = made(later, "out", "member_files=8")
    for number in range(8):
        before, after = (
            set(pl.read_parquet(folder / f"members/part-{number:05}.parquet")["id"])
            for folder in (first, second)
        )
        assert before == {name for name in after if not name.startswith("new")}


@pytest.mark.parametrize(
    ("rows", "dim", "rows_per_file", "files"),
    [
        (0, 64, 250_000, 1),
        (250_000, 64, 250_000, 1),
        (250_001, 64, 250_000, 2),
        (5_000_000, 64, 250_000, 32),
        (5_000_000, 1024, 250_000, 512),
        (1000, 64, 1, 1024),
    ],
)
def test_files_are_a_power_of_two_and_none_is_large(
    rows: int, dim: int, rows_per_file: int, files: int
) -> None:
    assert files_for(rows, dim, rows_per_file) == files


def test_sales_stand_in_the_order_of_the_bundle(once: Path) -> None:
    files = sorted((once / "sales").glob("*.parquet"))
    assert [len(pl.read_parquet(file)) for file in files] == [40, 40, 10]
    assert pl.concat([pl.read_parquet(file) for file in files])["id"].to_list() == sale_ids(90)
    assert np.array_equal(read_vectors(once, "sales").vectors, vectors_of(sale_ids(90)))


@pytest.mark.parametrize("dtype", ["fp32", pytest.param("int8", marks=pytest.mark.slow)])
def test_the_bits_do_not_depend_on_the_number_of_processes(shop: Path, dtype: str) -> None:
    words = ("member_files=16", f"dtype={dtype}", "max_loss=1")
    prints = {
        open_artefact(
            made(shop, f"out{n}", f"executor.processes={n}", *words), "export"
        ).fingerprint
        for n in (1, 4)
    }
    assert len(prints) == 1


def test_an_export_says_what_it_is_of(once: Path) -> None:
    manifest = open_artefact(once, "export")
    assert manifest.parents == {"bundle": only(once.parents[1], "bundles/*").name}
    assert manifest.counts == {"members": 1000, "sales": 90}
    assert (manifest.watermark, manifest.decided_at) == (11, 12)
    assert manifest.extra == {
        "unit_dims": UNIT,
        "dim": DIM,
        "model": "a model",
        "dtype": "fp32",
        "files": {"members": 16, "sales": 3},
        "loss": None,
    }
    assert manifest.files.keys() == {
        *(f"members/part-{number:05}.parquet" for number in range(16)),
        *(f"sales/part-{number:05}.parquet" for number in range(3)),
    }


def test_a_shop_without_members_has_one_file_of_none(tmp_path: Path) -> None:
    bundle_of(tmp_path, [], sale_ids(2))
    folder = made(tmp_path, "out")
    assert pl.read_parquet(folder / "members" / "*.parquet").is_empty()
    assert len(pl.read_parquet(folder / "sales" / "*.parquet")) == 2
