"""A log in, a model's reward of what was shown and of what a target shows out, cross-fitted.

No row is judged by a model that saw a reward of its own member: else the model's luck would count
as the target's (Chernozhukov et al. 2018).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import polars as pl

from recsys.domain.arrays import F32, F64, I64
from recsys.domain.errors import DataRefusedError, SettingError
from recsys.domain.spec import NonNegative, Spec
from recsys.domain.ties import keyed


class RewardModel(Protocol):
    """Anything that learns rewards from some rows of a log and tells them for others."""

    def __call__(self, known: pl.DataFrame, asked: pl.DataFrame, num_sales: int, /) -> F64:
        """Return the reward of each sale in the place of each row of `asked`, F64[n, num_sales]."""
        ...


class ShrunkenMeans(Spec):
    """A slot's mean reward, plus what a sale brought above it, shrunk to nothing."""

    strength: NonNegative = 100.0
    """Showings that say a sale is like the others: after so many of its own, half is believed."""

    def __call__(self, known: pl.DataFrame, asked: pl.DataFrame, num_sales: int, /) -> F64:
        """Return the reward of each sale in the place of each row of `asked`, F64[n, num_sales].

        `known` has sale (a number below `num_sales`), reward and, where places differ, slot.
        """
        sale, reward = known["sale"].to_numpy(), known["reward"].to_numpy().astype(np.float64)
        slot, asked_slot = _slots(known), _slots(asked)
        num_slots = int(max(slot.max(initial=0), asked_slot.max(initial=0))) + 1
        overall = reward.mean() if len(reward) else 0.0
        count = np.bincount(slot, minlength=num_slots)
        total = np.bincount(slot, weights=reward, minlength=num_slots)
        level = np.where(count > 0, total / np.maximum(count, 1), overall)
        above = np.bincount(sale, weights=reward - level[slot], minlength=num_sales)
        shown = np.bincount(sale, minlength=num_sales) + self.strength
        rewards: F64 = level[asked_slot][:, None] + above / np.where(shown > 0, shown, 1.0)
        return rewards


def cross_fitted(
    frame: pl.DataFrame,
    chances: F32 | F64,
    *,
    model: RewardModel | None = None,
    folds: int = 5,
    seed: int = 0,
) -> pl.DataFrame:
    """Return the log with `q` and `q_target`, from a model that never saw the row's member.

    `frame` has member, reward, sale (the column of `chances`, from 0) and whatever the model
    reads. `chances` F[n, c]: the target's chance of each sale at each row, given the places
    before it. `model` is `ShrunkenMeans()` where none is named. Members fall into folds by hash.

    Raises:
        DataRefusedError: the log and the chances do not fit together.
        SettingError: fewer than two folds.
    """
    if folds < 2:
        raise SettingError(
            f"folds={folds}: one fold leaves nobody to learn from", "possible: 2, 3, ..."
        )
    sale = _sales(frame, chances)
    fold = keyed(seed, frame["member"].rank("dense").to_numpy()) % np.uint64(folds)
    q, q_target = np.zeros(len(sale)), np.zeros(len(sale))
    learner = model or ShrunkenMeans()
    for each in np.unique(fold):
        rows = np.flatnonzero(fold == each)
        rewards = learner(frame.filter(fold != each), frame[rows], chances.shape[1])
        q[rows] = rewards[np.arange(len(rows)), sale[rows]]
        q_target[rows] = np.einsum("nc,nc->n", rewards, chances[rows])
    return frame.with_columns(q=q, q_target=q_target)


def _slots(frame: pl.DataFrame) -> I64:
    if "slot" not in frame.columns:
        return np.zeros(frame.height, dtype=np.int64)
    return frame["slot"].to_numpy().astype(np.int64)


def _sales(frame: pl.DataFrame, chances: F32 | F64) -> I64:
    sale = frame["sale"].cast(pl.Int64).fill_null(-1).to_numpy()
    num_rows, num_sales = chances.shape
    if num_rows != len(sale):
        raise DataRefusedError(f"chances are of {num_rows} rows, the log has {len(sale)}")
    if len(sale) and not 0 <= sale.min() <= sale.max() < num_sales:
        raise DataRefusedError(
            f"sale runs from {sale.min()} to {sale.max()}, chances have {num_sales} columns",
            "wanted: the column of each shown sale, from 0",
        )
    return sale
