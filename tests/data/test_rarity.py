from __future__ import annotations

import math

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.bags import Cells, value_cells
from recsys.data.hashing import Hasher, table_row
from recsys.data.rarity import Rarity


def hashed(values: list[list[str]]) -> Cells:
    column = pl.Series(values, dtype=pl.List(pl.String))
    return value_cells(column, "f", field="f", hasher=Hasher(30))


def weight(cells: Cells, entity: int, value: str) -> float:
    here = (cells.entity == entity) & (cells.row == table_row("f", value, 30))
    return float(cells.weight[here].item())


def test_a_value_counts_by_the_logarithm_of_its_rarity() -> None:
    training = hashed([["all", "rare"], ["all"], ["all"], ["all"]])
    found = Rarity.fit(training, 4).weigh(hashed([["all", "rare", "new"]]))
    often, once = math.log(1 + 4 / 4), math.log(1 + 4 / 1)
    length = math.sqrt(often**2 + 2 * once**2)
    assert math.isclose(weight(found, 0, "all"), often / length, rel_tol=1e-6)
    assert math.isclose(weight(found, 0, "rare"), once / length, rel_tol=1e-6)
    assert math.isclose(weight(found, 0, "new"), once / length, rel_tol=1e-6)


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=4), min_size=1, max_size=8))
def test_the_squares_of_all_weights_sum_to_one_and_no_value_is_lost(bags: list[list[str]]) -> None:
    cells = hashed(bags)
    found = Rarity.fit(hashed(bags[: len(bags) // 2]), len(bags) // 2).weigh(cells)
    assert np.array_equal(found.row, cells.row)
    assert np.array_equal(found.entity, cells.entity)
    assert np.allclose(np.bincount(found.entity, weights=found.weight**2), 1)
    assert (found.weight > 0).all()


def test_what_nothing_was_measured_of_counts_evenly() -> None:
    cells = hashed([["a", "b"], ["c"]])
    assert np.allclose(Rarity.fit(hashed([]), 0).weigh(cells).weight, cells.weight)
