"""Instants in, requests before the shelves of these instants out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from recsys.data.asof import history_end
from recsys.data.targets import Outcomes
from recsys.domain.arrays import I64
from recsys.domain.dataset import Dataset
from recsys.domain.requests import Requests
from recsys.domain.shelf import Shelf


@dataclass(frozen=True)
class Moments:
    """The history in order of time, so that a window of it is a slice."""

    dataset: Dataset

    @cached_property
    def order(self) -> I64:
        """Positions in Dataset.history, by time, I64[n]."""
        return np.argsort(self.dataset.history.at, kind="stable")

    @cached_property
    def at(self) -> I64:
        """UTC us, ascending, I64[n]."""
        return self.dataset.history.at[self.order]

    @cached_property
    def joined_at(self) -> I64:
        """When each member joined, UTC us, I64[m]; the smallest i64 where unknown."""
        never = np.iinfo(np.int64).min
        joined = self.dataset.members["joined_at"].cast(pl.Datetime("us", "UTC"))
        return joined.dt.timestamp("us").fill_null(never).to_numpy()

    def outcomes(self, shelf: Shelf, outcome_us: int) -> tuple[Outcomes, int]:
        """Return what members did with the shelf in [at, at + outcome), requests = member rows.

        The second is the number of events in that time on sales not on the shelf.
        """
        first, end = np.searchsorted(self.at, [shelf.at, shelf.at + outcome_us])
        within = self.order[first:end]
        history = self.dataset.history
        within = within[self.joined_at[history.member[within]] <= shelf.at]
        on_shelf = np.zeros(self.dataset.num_sales, dtype=np.bool_)
        on_shelf[shelf.sales] = True
        hits = within[on_shelf[history.sale[within]]]
        outcomes = Outcomes.strongest(history.member[hits], history.sale[hits], history.kind[hits])
        return outcomes, len(within) - len(hits)


def shelf_requests(moments: Moments, instants: I64, outcome_us: int) -> tuple[Requests, int]:
    """Return the requests at some instants (UTC us, ascending), and the outcomes off the shelf.

    An instant without a request gives no group. Members who joined later make no request.
    """
    shop = moments.dataset.shop
    groups = list[tuple[Shelf, Outcomes]]()
    missed = 0
    for at in instants.tolist():
        shelf = shop.shelf(at)
        outcomes, elsewhere = moments.outcomes(shelf, outcome_us)
        missed += elsewhere
        if len(outcomes.request):
            groups.append((shelf, outcomes))
    return _join(moments.dataset, groups, outcome_us), missed


def _join(dataset: Dataset, groups: list[tuple[Shelf, Outcomes]], outcome_us: int) -> Requests:
    rows = [outcomes.rows() for _, outcomes in groups]
    members = _concat([member for member, _ in rows], np.int32)
    group_at = np.array([shelf.at for shelf, _ in groups], dtype=np.int64)
    group = np.repeat(np.arange(len(groups), dtype=np.int32), [len(member) for member, _ in rows])
    shelf_ptr = np.cumsum([0, *(len(shelf) for shelf, _ in groups)]).astype(np.int64)
    counts = _concat([np.diff(ptr) for _, ptr in rows], np.int64)
    return Requests(
        group_at=group_at,
        shelf_start=shelf_ptr[:-1],
        shelf_end=shelf_ptr[1:],
        shelf_sale=_concat([shelf.sales for shelf, _ in groups], np.int32),
        shelf_curated=_concat([shelf.curated for shelf, _ in groups], np.bool_),
        member=members,
        at=group_at[group],
        group=group,
        history_end=history_end(dataset.history, members, group_at[group]),
        target_ptr=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        target_sale=_concat([outcomes.sale for _, outcomes in groups], np.int32),
        target_kind=_concat([outcomes.kind for _, outcomes in groups], np.uint8),
        target_weight=_concat([outcomes.weights() for _, outcomes in groups], np.float32),
        outcome_us=outcome_us,
    )


def _concat(parts: list[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype=dtype), *parts], dtype=dtype)
