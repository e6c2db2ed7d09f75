from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.domain.artefact import open_artefact
from recsys.domain.packed import Packing, read_vectors
from recsys.retrieval.rounding import loss
from tests.runs.conftest import Trained
from tests.runs.starting import ROOT, only, verb
from tests.runs.vectors import bundle_of, member_ids, sale_ids

TABLES = {"members": ("members/ids", "member"), "sales": ("sales/info", "sale")}


def exported(trained: Trained, out: Path, *words: str) -> Path:
    """Export into a folder of the test's own; what was trained is only read."""
    said = verb(trained.folder, "export", f"out={out}", *words)
    assert said.returncode == 0, said.stderr
    return only(out, "*_export")


def kept(trained: Trained, what: str) -> np.ndarray:
    vectors: np.ndarray = np.load(trained.bundle / what / "vectors.npy")
    return vectors


def placed(known: pl.Series, ids: pl.Series) -> np.ndarray:
    """Return the row of each id, all of which are there once: members are dealt by their ids."""
    row = {name: row for row, name in enumerate(known.to_list())}
    rows = np.array([row[name] for name in ids.to_list()])
    assert np.array_equal(np.sort(rows), np.arange(len(known)))
    return rows


def order(trained: Trained, folder: Path, what: str) -> np.ndarray:
    """Return the rows of the bundle in the order of an export's files."""
    ids, column = TABLES[what]
    known = pl.read_parquet(trained.bundle / f"{ids}.parquet")[column]
    return placed(known, pl.read_parquet(folder / what / "*.parquet")["id"])


def extra(folder: Path) -> dict[str, Any]:
    said = open_artefact(folder, "export").extra
    assert isinstance(said, dict)
    return said


@pytest.mark.slow
def test_exported_vectors_are_those_of_the_bundle(trained: Trained, tmp_path: Path) -> None:
    folder = exported(trained, tmp_path, "rows_per_file=400")
    assert open_artefact(folder, "export").parents["bundle"] == trained.bundle.name
    assert (extra(folder)["dtype"], extra(folder)["loss"]) == ("fp32", None)
    for what, (ids, column) in TABLES.items():
        frame, vectors = pl.read_parquet(folder / what / "*.parquet"), kept(trained, what)
        assert frame["vector"].dtype == pl.Array(pl.Float32, vectors.shape[1])
        known = pl.read_parquet(trained.bundle / f"{ids}.parquet")[column]
        rows = placed(known, frame["id"])
        assert np.array_equal(frame["vector"].to_numpy(), vectors[rows])
        read = read_vectors(folder, what)  # type: ignore[arg-type]  # a key
        assert np.array_equal(read.vectors, vectors[rows])
        assert list(read.ids) == frame["id"].to_list()
    assert len(list((folder / "members").glob("*.parquet"))) == 4


@pytest.mark.slow
def test_int8_takes_fewer_bytes_and_says_what_it_lost(trained: Trained, tmp_path: Path) -> None:
    folder = exported(trained, tmp_path, "dtype=int8", "max_loss=1", "rows_per_file=400")
    said = extra(folder)
    packing = Packing("int8", said["unit_dims"])
    members, sales = kept(trained, "members"), kept(trained, "sales")
    # the shop has fewer members than are sampled
    all_of_them = loss(members, sales, of_members=packing.rounded, of_sales=packing.rounded)
    assert said["loss"] == {
        "recall_at_10": pytest.approx(all_of_them.recall[10], abs=1e-4),
        "recall_at_50": pytest.approx(all_of_them.recall[50], abs=1e-4),
        "score_error": pytest.approx(all_of_them.score_error, rel=1e-3),
        "members": len(members),
        "max_loss": 1.0,
    }
    assert 0 < said["loss"]["score_error"] < 0.05
    exact = exported(trained, tmp_path / "exact", "rows_per_file=400")
    sizes = [sum(p.stat().st_size for p in one.rglob("*.parquet")) for one in (folder, exact)]
    assert sizes[0] < 0.6 * sizes[1]
    for what, vectors in (("members", members), ("sales", sales)):
        frame = pl.read_parquet(folder / what / "*.parquet")
        assert frame["vector"].dtype == pl.Array(pl.Int8, vectors.shape[1])
        rows = order(trained, folder, what)
        assert np.array_equal(packing.unpack(frame), packing.rounded(vectors)[rows])


@pytest.mark.slow
def test_what_is_not_written_is_not_rounded_when_the_loss_is_measured(
    trained: Trained, tmp_path: Path
) -> None:
    folder = exported(trained, tmp_path, "dtype=int8", "max_loss=1", "what=[sales]")
    packing = Packing("int8", extra(folder)["unit_dims"])
    alone = loss(
        kept(trained, "members"),
        kept(trained, "sales"),
        of_members=lambda vectors: vectors,
        of_sales=packing.rounded,
    )
    assert extra(folder)["loss"]["score_error"] == pytest.approx(alone.score_error, rel=1e-3)


@pytest.mark.slow
def test_too_great_a_loss_is_refused_with_what_to_do(trained: Trained, tmp_path: Path) -> None:
    said = verb(trained.folder, "export", f"out={tmp_path}/out", "dtype=int8", "max_loss=0")
    assert (said.returncode, said.stdout) == (5, "")
    first, *more = said.stderr.splitlines()
    assert first == "error: int8 vectors lose more than max_loss=0 allows"
    assert re.search(r"write dtype=fp16, or allow it: max_loss=0\.\d+", more[-1])
    assert not list(tmp_path.glob("out/*_export"))
    allowed = re.findall(r"max_loss=[\d.]+", more[-1])
    exported(trained, tmp_path / "out", "dtype=int8", *allowed)


@pytest.mark.slow
def test_the_lines_of_the_docs_read_it(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lines,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL
    )
    for dtype in ("int8", "fp16", "fp32"):
        folder = exported(trained, tmp_path / dtype, f"dtype={dtype}", "max_loss=1")
        monkeypatch.chdir(folder)
        read: dict[str, Any] = {}
        exec(lines, read)  # ruff: ignore[exec-builtin]  # our own docs
        for what in ("members", "sales"):
            right = Packing(dtype, extra(folder)["unit_dims"]).rounded(kept(trained, what))
            assert np.array_equal(read[what], right[order(trained, folder, what)])
        np.testing.assert_allclose(read["scores"], read["members"] @ read["sales"].T)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a bundle of 1,000 members and 90 sales."""
    bundle_of(tmp_path, member_ids(1000), sale_ids(90))
    return tmp_path


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(shop: Path) -> None:
    bundle = only(shop, "bundles/*").name
    before = sorted(shop.rglob("*"))
    said = verb(shop, "export", f"bundle={bundle}", "member_files=16", "dry_run=true")
    assert said.returncode == 0, said.stderr
    assert sorted(shop.rglob("*")) == before
    for line in (
        "  members  1,000 vectors of 8 numbers, fp32, in 16 files",
        "  sales    90 vectors of 8 numbers, fp32, in 1 files",
        "  done     0 of 17 files are there already",
        "  out      a new folder below exports",
    ):
        assert line in said.stdout.splitlines()


def test_a_damaged_bundle_is_not_exported(shop: Path) -> None:
    path = only(shop, "bundles/*") / "members" / "vectors.npy"
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    said = verb(shop, "export", f"bundle={path.parents[1].name}")
    assert said.returncode == 4
    assert "vectors.npy was changed since published" in " ".join(said.stderr.split())
    assert not (shop / "exports").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("to='postgresql://a:secret@host/shop'",), "a password stands in PGPASSWORD"),
        (("to='postgresql://a@host/shop?password=secret'",), "a password stands in PGPASSWORD"),
        (("to='postgresql://a@host/shop'", "dtype=int8"), "hold fp32, not int8"),
        (("to='mysql://a@host/shop'",), "to="),
        (("tables='x;drop'",), "tables="),
    ],
)
def test_a_database_is_asked_for_in_words_that_can_be_kept(
    shop: Path, words: tuple[str, ...], said: str
) -> None:
    refused = verb(shop, "export", *words)
    assert refused.returncode == 2
    assert said in " ".join(refused.stderr.split())
