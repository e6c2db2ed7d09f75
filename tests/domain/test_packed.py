from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recsys.domain.arrays import F32
from recsys.domain.artefact import publish
from recsys.domain.embeddings import Embeddings
from recsys.domain.errors import BrokenArtefactError, MissingArtefactError
from recsys.domain.packed import Dtype, Packing, read_vectors

DTYPES: tuple[Dtype, ...] = get_args(Dtype)
KINDS = {"fp32": pl.Float32, "fp16": pl.Float16, "int8": pl.Int8}
UNIT = 5
NUMBERS = st.floats(-1e4, 1e4, width=32)
VECTORS = hnp.arrays(
    np.float32, st.tuples(st.integers(0, 6), st.integers(UNIT, 9)), elements=NUMBERS
)


def drawn(rows: int = 40, *, rest: int = 1) -> Embeddings:
    rng = np.random.default_rng(rest)
    unit = rng.normal(size=(rows, UNIT)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    beside = (3 * rng.normal(size=(rows, rest))).astype(np.float32)
    ids = np.array([f"m{row}" for row in range(rows)])
    return Embeddings(ids, np.concatenate((unit, beside), axis=1), UNIT, "f" * 16)


def exported(root: Path, vectors: Embeddings, packing: Packing, **said: object) -> Path:
    def write(draft: Path) -> None:
        (draft / "members").mkdir()
        for number, rows in enumerate((slice(0, 25), slice(25, None))):
            packing.frame(vectors, rows).write_parquet(draft / "members" / f"part-{number}.parquet")

    extra = {"dtype": packing.dtype, "unit_dims": UNIT, "model": vectors.fingerprint} | said
    return publish(root, "export", write, counts={"members": len(vectors.ids)}, extra=extra)  # type: ignore[arg-type]  # plain data


@settings(max_examples=200, deadline=None)
@given(vectors=VECTORS)
def test_a_number_comes_back_within_half_a_step_of_its_vector(vectors: F32) -> None:
    packing = Packing("int8", UNIT)
    columns = packing(vectors)
    off = np.abs(packing.unpack(columns).astype(np.float64) - vectors)
    scales = columns["scale"].to_numpy().astype(np.float64)
    scale = np.repeat(scales, np.diff([0, UNIT, min(UNIT + 1, off.shape[1]), off.shape[1]]), axis=1)
    # the product itself is rounded to float32
    assert (off <= scale / 2 + 127 * scale * 2.0**-22).all()
    steps = columns["vector"].to_numpy()
    assert steps.dtype == np.int8
    assert (np.abs(steps.astype(int)) <= 127).all()


@settings(max_examples=100, deadline=None)
@given(vectors=VECTORS)
def test_minus_a_vector_is_written_as_minus_its_numbers(vectors: F32) -> None:
    packing = Packing("int8", UNIT)
    one, other = packing(vectors), packing(-vectors)
    assert (one["vector"].to_numpy() == -other["vector"].to_numpy()).all()
    assert one["scale"].equals(other["scale"])


@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_come_back_as_zeros(dtype: Dtype) -> None:
    assert not Packing(dtype, UNIT).rounded(np.zeros((3, 7), dtype=np.float32)).any()


def test_float32_comes_back_to_the_bit_and_half_precision_within_its_own() -> None:
    vectors = drawn().vectors
    assert np.array_equal(Packing("fp32", UNIT).rounded(vectors), vectors)
    np.testing.assert_allclose(Packing("fp16", UNIT).rounded(vectors), vectors, rtol=2.0**-11)


@pytest.mark.parametrize("rest", [1, 4])
def test_a_bias_and_the_one_of_a_member_survive_int8(rest: int) -> None:
    vectors = drawn(rest=rest).vectors
    back = Packing("int8", UNIT).rounded(vectors)
    np.testing.assert_allclose(back[:, UNIT], vectors[:, UNIT], rtol=1e-6)
    # however large it is, what stands beside it keeps its own steps
    louder = vectors.copy()
    louder[:, UNIT] *= 1000
    found = Packing("int8", UNIT).rounded(louder)
    assert np.array_equal(np.delete(found, UNIT, axis=1), np.delete(back, UNIT, axis=1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_columns_are_what_the_docs_say(dtype: Dtype, tmp_path: Path) -> None:
    vectors = drawn()
    Packing(dtype, UNIT).frame(vectors).write_parquet(tmp_path / "some.parquet")
    found = pl.read_parquet(tmp_path / "some.parquet")
    wanted = {"id": pl.String(), "vector": pl.Array(KINDS[dtype], vectors.dim)}
    if dtype == "int8":
        wanted |= {"scale": pl.Array(pl.Float32, 3)}
    assert dict(found.schema) == wanted
    assert found["id"].to_list() == vectors.ids.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rest", [0, 1, 4])
def test_a_reader_gets_the_vectors_with_unit_parts_of_length_one(
    dtype: Dtype, rest: int, tmp_path: Path
) -> None:
    vectors, packing = drawn(rest=rest), Packing(dtype, UNIT)
    back = read_vectors(exported(tmp_path, vectors, packing), "members")
    assert back.ids.tolist() == vectors.ids.tolist()
    assert (back.dim, back.unit_dims) == (vectors.dim, UNIT)
    assert back.fingerprint == vectors.fingerprint
    assert np.array_equal(back.vectors[:, UNIT:], packing.rounded(vectors.vectors)[:, UNIT:])
    np.testing.assert_allclose((back.unit * vectors.unit).sum(axis=1), 1, atol=2e-4)
    if dtype == "fp32":
        assert np.array_equal(back.vectors, vectors.vectors)


def test_a_reader_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    folder = exported(tmp_path, drawn(), Packing("int8", UNIT))
    with pytest.raises(MissingArtefactError, match=r"holds no sales\n.*what=\[sales\]"):
        read_vectors(folder, "sales")
    damaged = folder / "members" / "part-0.parquet"
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    with pytest.raises(BrokenArtefactError, match=r"part-0\.parquet was changed"):
        read_vectors(folder, "members")
    untold = publish(tmp_path, "export", lambda _: None, extra={"unit_dims": UNIT})
    with pytest.raises(BrokenArtefactError, match="does not say how it was packed"):
        read_vectors(untold, "members")
