from __future__ import annotations

import numpy as np
import pytest

from recsys.domain.embeddings import BLOCK, Embeddings


def some(dim: int = 6, unit_dims: int = 5) -> Embeddings:
    vectors = np.random.default_rng(0).normal(size=(4, dim)).astype(np.float32)
    vectors[:, :unit_dims] /= np.linalg.norm(vectors[:, :unit_dims], axis=1, keepdims=True)
    return Embeddings(np.array(list("abcd")), vectors, unit_dims, "f" * 16)


def test_a_cut_keeps_directions_lengths_of_one_and_what_follows_the_unit_part() -> None:
    whole, short = some(), some().cut(3)
    assert (short.dim, short.unit_dims) == (3, 2)
    assert short.vectors.dtype == np.float32
    assert np.array_equal(short.ids, whole.ids)
    np.testing.assert_allclose(np.linalg.norm(short.unit, axis=1), 1, atol=1e-6)
    ratio = short.unit / whole.unit[:, :2]
    np.testing.assert_allclose(ratio[:, 0], ratio[:, 1], rtol=1e-5)
    assert np.all(ratio > 0)
    assert np.array_equal(short.vectors[:, 2], whole.vectors[:, 5])
    assert np.array_equal(some().cut(6).vectors[:, 5], whole.vectors[:, 5])


@pytest.mark.parametrize("width", [0, 1, 7])
def test_a_cut_that_leaves_nothing_or_takes_nothing_away_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match=f"width {width} of vectors of 6"):
        some().cut(width)


@pytest.mark.parametrize(
    ("row", "column", "value", "said"),
    [
        (BLOCK + 3, 1, np.nan, "not finite"),
        (BLOCK + 3, 1, np.inf, "not finite"),
        (BLOCK + 3, 2, np.nan, "not finite"),
        (BLOCK + 3, 2, 3e38, None),
        (BLOCK + 3, 1, 3e38, "lengths other than 1"),
        (BLOCK - 1, 0, 1.0002, "lengths other than 1"),
        (0, 0, 0.9998, "lengths other than 1"),
        (BLOCK, 0, 1.00005, None),
    ],
)
def test_one_number_among_many_vectors_is_seen(
    row: int, column: int, value: float, said: str | None
) -> None:
    vectors = np.zeros((BLOCK + 10, 3), dtype=np.float32)
    vectors[:, 0] = 1
    vectors[row, column] = value
    ids = np.arange(len(vectors)).astype(str)
    if said is None:
        assert len(Embeddings(ids, vectors, 2, "f").unit) == len(vectors)
        return
    with pytest.raises(ValueError, match=said):
        Embeddings(ids, vectors, 2, "f")
