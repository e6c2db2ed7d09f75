from __future__ import annotations

import numpy as np
import pytest

from recsys.towers.two_tower import Sizes, initial_rows
from recsys.towers.untrained import Untrained


@pytest.mark.parametrize(
    ("dim", "bits", "seed"), [(4, 4, 0), (5, 4, 7), (20, 6, 2**33 + 5), (10, 14, 1), (64, 15, 3)]
)
def test_the_rows_are_those_that_torch_draws(dim: int, bits: int, seed: int) -> None:
    rows = np.unique(np.random.default_rng(bits).integers(0, 1 << bits, 50))
    drawn = initial_rows(Sizes((), (), (), (), 1 << bits), rows, dim=dim, seed=seed).numpy()
    found = Untrained.of(seed, dim=dim, table_rows=1 << bits)(rows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, drawn, atol=1e-7)


def test_marks_take_a_bounded_place_however_large_the_table() -> None:
    one, two = (Untrained.of(0, dim=4, table_rows=rows) for rows in (1 << 14, 1 << 16))
    assert len(one.marks) == len(two.marks) == 512
    assert (one.stride, two.stride) == (32, 128)
