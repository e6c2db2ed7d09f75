"""Engagements in, one request for each moment a member engaged out: for what never closes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recsys.data.asof import curated_at_opening, history_end
from recsys.data.instants import local_days
from recsys.data.targets import Outcomes
from recsys.domain.arrays import I64, Bool
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY
from recsys.domain.requests import Requests


def baskets(dataset: Dataset, keep: Bool) -> Requests:
    """Return one request per (member, instant) among the events of Bool[n] of the history.

    Its outcomes are the sales engaged with at that very instant, its past is what came before.
    Groups are local days; a day's shelf is all that launched before the day began, a slice of
    one array ordered by launch. What launched on the day itself is no outcome yet.
    """
    history = dataset.history
    starts = _starts(dataset)
    basket = np.cumsum(starts) - 1
    days = _days(dataset)
    day = np.searchsorted(days, history.at, side="right") - 1
    launched = np.searchsorted(dataset.opens_at, days, side="left")
    kept = np.flatnonzero(keep & (history.sale < launched[day]))
    outcomes = Outcomes.strongest(basket[kept], history.sale[kept], history.kind[kept])
    first = np.flatnonzero(starts)[outcomes.rows()[0]]
    order = np.argsort(day[first], kind="stable")  # (member, at) stays the order inside a day
    used, group = np.unique(day[first], return_inverse=True)
    made = Requests(
        group_at=days[used],
        shelf_start=np.zeros(len(used), dtype=np.int64),
        shelf_end=launched[used].astype(np.int64),
        shelf_sale=np.arange(dataset.num_sales, dtype=np.int32),
        # one array serves all days, so it may only know what was known at each opening
        shelf_curated=curated_at_opening(dataset.shop),
        member=history.member[first],
        at=history.at[first],
        group=group.astype(np.int32),
        history_end=first,
        target_ptr=outcomes.rows()[1],
        target_sale=outcomes.sale,
        target_kind=outcomes.kind,
        target_weight=outcomes.weights(),
        outcome_us=1,
    )
    return made.take(order)


def _starts(dataset: Dataset) -> Bool:
    history = dataset.history
    starts = np.ones(len(history), dtype=np.bool_)
    starts[1:] = (np.diff(history.at) != 0) | (np.diff(history.member) != 0)
    return starts


def _days(dataset: Dataset) -> I64:
    at = dataset.history.at
    first, last = int(at.min(initial=dataset.watermark)), int(at.max(initial=0))
    # from a day earlier, so that the first event has a midnight before it
    days: I64 = local_days(dataset.zone, first - 2 * DAY, last)
    return days


def sets(dataset: Dataset, keep: Bool, at: int, *, hidden_share: float) -> Requests:
    """Return one request a member at an instant after the events of Bool[n], all its outcomes.

    They stand in its past too: see `Requests.hidden_share`.
    """
    made = member_requests(dataset, keep)
    instants = np.full_like(made.at, at)
    return replace(
        made,
        group_at=np.full_like(made.group_at, at),
        at=instants,
        history_end=history_end(dataset.history, made.member, instants),
        hidden_share=hidden_share,
    )


def share_of_history(dataset: Dataset, low: int, high: int) -> Bool:
    """Return which events lie in [low, high) hundredths of their member's history, Bool[n].

    Events of one instant are ordered by sale row: blocks may part between them.
    """
    history = dataset.history
    counts = np.diff(history.member_ptr)[history.member]
    hundredths = 100 * (np.arange(len(history)) - history.member_ptr[history.member])
    return (low * counts <= hundredths) & (hundredths < high * counts)


def member_requests(dataset: Dataset, within: Bool) -> Requests:
    """Return one request a member at the first of their events in Bool[n], all of these outcomes.

    One group. Its shelf is what was on offer at the last of the instants; what changes with time
    about its sales is known as of the first, so that no request's outcome counts for another. An
    event at the very instant of a request is never its past, and only those of `within` are its
    outcomes.
    """
    history = dataset.history
    end = int(history.at[within].max(initial=0))
    shelf = dataset.shelf(end)
    on_shelf = np.zeros(dataset.num_sales, dtype=np.bool_)
    on_shelf[shelf.sales] = True
    rows = np.flatnonzero(within & on_shelf[history.sale])
    outcomes = Outcomes.strongest(history.member[rows], history.sale[rows], history.kind[rows])
    member, target_ptr = outcomes.rows()
    members = member.astype(np.int32)
    first = np.searchsorted(history.member[rows], members, side="left")
    at = history.at[rows][first]
    used = int(len(members) > 0)
    return Requests(
        group_at=np.full(used, at.min(initial=end), dtype=np.int64),
        shelf_start=np.zeros(used, dtype=np.int64),
        shelf_end=np.full(used, len(shelf), dtype=np.int64),
        shelf_sale=shelf.sales,
        shelf_curated=shelf.curated,
        member=members,
        at=at,
        group=np.zeros(len(members), dtype=np.int32),
        history_end=history_end(history, members, at),
        target_ptr=target_ptr,
        target_sale=outcomes.sale,
        target_kind=outcomes.kind,
        target_weight=outcomes.weights(),
        outcome_us=end + 1 - int(at.min(initial=end)),
    )
