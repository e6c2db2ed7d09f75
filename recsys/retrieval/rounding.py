"""What exact search loses when vectors are kept in fewer bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32
from recsys.retrieval.exact import TILE

Rounding = Callable[[F32], F32]
"""Vectors F32[n, dim] -> what a reader gets of them, F32[n, dim]."""
PLACES = (10, 50)


@dataclass(frozen=True)
class Loss:
    """What is lost, over some members and all sales."""

    members: int
    recall: Mapping[int, float]
    """k -> share of the k best places that rounded vectors fill with a sale of a lower score."""
    score_error: float
    """The largest difference of a score."""

    @property
    def worst(self) -> float:
        """The largest share that is lost."""
        return max(self.recall.values())


def loss(members: F32, sales: F32, *, of_members: Rounding, of_sales: Rounding) -> Loss:
    """Compare the best of all sales by rounded vectors with the best by exact ones.

    A sale whose exact score equals the last of the best is as good as that one. Memory is bounded:
    sales are rounded and scored a block at a time.
    """
    asked = of_members(members)
    best, found = _none(members), (_none(members), _none(members))
    error, step = 0.0, max(1, TILE // max(1, len(members)))
    for first in range(0, len(sales), step):
        some = sales[first : first + step]
        exact, rounded = members @ some.T, asked @ of_sales(some).T
        error = max(error, float(np.abs(rounded - exact).max(initial=0.0)))
        best = -np.sort(-_front(np.concatenate((best, exact), axis=1))[0], axis=1)
        found = _front(
            np.concatenate((found[0], rounded), axis=1), np.concatenate((found[1], exact), axis=1)
        )
    order = np.argsort(-found[0], axis=1, kind="stable")
    scores = np.take_along_axis(found[1], order, axis=1)
    lost = {k: float((scores[:, :k] < best[:, :k][:, -1:]).mean()) for k in PLACES}
    return Loss(members=len(members), recall=lost, score_error=error)


def _none(members: F32) -> F32:
    return np.zeros((len(members), 0), dtype=np.float32)


def _front(scores: F32, beside: F32 | None = None) -> tuple[F32, F32]:
    """Keep the most places asked for of each row, those with the highest scores, in no order."""
    beside = scores if beside is None else beside
    most = max(PLACES)
    if scores.shape[1] <= most:
        return scores, beside
    front = np.argpartition(-scores, most - 1, axis=1)[:, :most]
    return np.take_along_axis(scores, front, axis=1), np.take_along_axis(beside, front, axis=1)
