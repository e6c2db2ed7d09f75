from __future__ import annotations

import numpy as np
import pytest

from recsys.domain.embeddings import Embeddings


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
