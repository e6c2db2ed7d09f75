"""Models of rewards that never speak of those they learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.domain.arrays import F64
from recsys.domain.errors import DataRefusedError, SettingError
from recsys.evaluate.rewards import ShrunkenMeans, cross_fitted


def log_of(rows: int = 600, seed: int = 1, **more: Any) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "member": rng.integers(0, rows // 3, rows),
            "slot": rng.integers(0, 3, rows),
            "sale": rng.integers(0, 4, rows),
            "reward": rng.random(rows),
        }
        | more
    )


def test_a_sale_is_believed_by_half_after_as_many_showings_as_the_strength() -> None:
    known = pl.DataFrame({
        "slot": [0] * 8 + [1] * 8,
        "sale": [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4,
        "reward": [1.0] * 4 + [0.0] * 4 + [0.6] * 4 + [0.0] * 4,
    })
    asked = pl.DataFrame({"slot": [0, 1, 2]})
    half = ShrunkenMeans(strength=8)(known, asked, 3)
    # levels 0.5, 0.3 and, for a slot nobody saw, 0.4; sale 0 stands 0.4 above, sale 2 is unknown
    np.testing.assert_allclose(half, [[0.7, 0.3, 0.5], [0.5, 0.1, 0.3], [0.6, 0.2, 0.4]])
    full = ShrunkenMeans(strength=0)(known, asked, 3)
    np.testing.assert_allclose(full[0], [0.9, 0.1, 0.5])


def test_without_slots_all_places_are_one_and_nothing_known_is_nothing() -> None:
    known = pl.DataFrame({"sale": [0, 1], "reward": [1.0, 3.0]})
    asked = known.head(1)
    np.testing.assert_allclose(ShrunkenMeans(strength=0)(known, asked, 2), [[1, 3]])
    np.testing.assert_allclose(ShrunkenMeans()(known.head(0), asked, 2), [[0, 0]])


def test_nobodys_own_reward_enters_the_model_that_judges_them() -> None:
    log, chances = log_of(), np.full((600, 4), 0.25)
    before = cross_fitted(log, chances)
    one = pl.col("member") == 7
    after = cross_fitted(
        log.with_columns(reward=pl.when(one).then(99.0).otherwise("reward")), chances
    )
    mine = log["member"].to_numpy() == 7
    changed = (before["q"] != after["q"]).to_numpy()
    assert not changed[mine].any()
    assert changed[~mine].any()
    assert (before["q_target"] != after["q_target"]).to_numpy()[changed].all()


def test_a_rows_model_is_its_sales_and_its_mean_under_the_target() -> None:
    def told(_: pl.DataFrame, asked: pl.DataFrame, num_sales: int) -> F64:
        return asked["slot"].to_numpy()[:, None] * 10.0 + np.arange(num_sales)

    log = log_of()
    chances = np.random.default_rng(2).dirichlet(np.ones(4), 600)
    found = cross_fitted(log, chances, model=told)
    slot, sale = log["slot"].to_numpy() * 10.0, log["sale"].to_numpy()
    np.testing.assert_allclose(found["q"], slot + sale)
    np.testing.assert_allclose(found["q_target"], slot + chances @ np.arange(4))
    assert found.drop("q", "q_target").equals(log)


def test_folds_depend_on_members_alone() -> None:
    log, chances = log_of(), np.full((600, 4), 0.25)
    whole = cross_fitted(log, chances)
    named = cross_fitted(log.with_columns(pl.format("m{}", pl.col("member") + 1_000)), chances)
    assert named["q"].to_list() == whole["q"].to_list()
    order = np.random.default_rng(3).permutation(600)
    mixed = cross_fitted(log[order], chances[order])
    np.testing.assert_allclose(mixed["q"], whole["q"].to_numpy()[order])
    assert cross_fitted(log, chances, seed=2)["q"].to_list() != whole["q"].to_list()


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(DataRefusedError, match="chances are of 5 rows, the log has 600"):
        cross_fitted(log_of(), np.ones((5, 4)))
    with pytest.raises(DataRefusedError, match="sale runs from 0 to 3, chances have 2 columns"):
        cross_fitted(log_of(), np.ones((600, 2)))
    with pytest.raises(DataRefusedError, match="sale runs from -1"):
        cross_fitted(log_of(sale=[None] + [1] * 599), np.ones((600, 4)))
    with pytest.raises(SettingError, match="folds=1"):
        cross_fitted(log_of(), np.ones((600, 4)), folds=1)
    assert cross_fitted(log_of(0), np.ones((0, 4))).is_empty()
