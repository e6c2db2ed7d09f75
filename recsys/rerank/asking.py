"""Which sales of a shelf are in question for whom, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.domain.arrays import F32, I64, NONE, Bool
from recsys.domain.events import DAY
from recsys.domain.requests import Requests
from recsys.domain.ties import keyed
from recsys.rerank.desk import Desk
from recsys.rerank.signals import Question, signals


@dataclass(frozen=True)
class Asked:
    """A question, its sales' columns on the shelf, and its signals."""

    question: Question
    columns: I64
    """I64[1, c] or I64[n, c], in the order that settles ties."""
    eligible: Bool
    """The taste is a number, Bool[n, c]."""
    x: F32
    """Signals, F32[n, c, F]."""

    @cached_property
    def typical(self) -> F32:
        """Mean signals of the sales in question, F32[n, F]."""
        mean: F32 = self.x.sum(axis=1, dtype=np.float64) / max(self.x.shape[1], 1)
        return mean.astype(np.float32)


def asked_of(question: Question, columns: I64, taste: F32) -> Asked:
    """Make the signals of a question, given the taste F32[n, s] of the whole shelf."""
    wide = np.broadcast_to(columns, (len(taste), columns.shape[1]))
    here = np.take_along_axis(taste, wide, axis=1)
    eligible = np.isfinite(here)
    x = signals(question, np.where(eligible, here, np.float32(0)))
    return Asked(question=question, columns=columns, eligible=eligible, x=x)


def ask(
    desk: Desk,
    requests: Requests,
    rows: slice,
    *,
    taste: F32,
    most: int,
    pinned: I64 | None = None,
) -> tuple[Question, I64]:
    """Choose the sales in question: the whole shelf, or of a long one `most` a member.

    `pinned` columns of the shelf are always among them.

    Returns the question and the columns of the shelf it is about, I64[1, c] or I64[n, c], in the
    order that settles ties. On long shelves: picked by an editor, then the more often the member
    engaged with it, then taste.
    """
    group = int(requests.group[rows.start])
    shelf, curated = requests.shelf(group).astype(np.int64), requests.curated(group)
    columns = _order(desk, requests, group)[None, :]
    if len(shelf) > most:
        first = curated.copy()
        first[[] if pinned is None else pinned] = True
        columns = candidates(desk, requests, rows, taste=taste, most=most, first=first)
    question = Question(
        desk=desk, requests=requests, rows=rows, sales=shelf[columns], curated=curated[columns]
    )
    return question, columns


def _order(desk: Desk, requests: Requests, group: int) -> I64:
    """Return the columns of a group's shelf in the order that settles ties that day, I64[s]."""
    shelf, day = requests.shelf(group).astype(np.int64), int(requests.group_at[group]) // DAY

    def ordered() -> I64:
        return np.argsort(keyed(day, shelf), kind="stable")

    return desk.once("order", (day, shelf.tobytes()), ordered)


def candidates(
    desk: Desk, requests: Requests, rows: slice, *, taste: F32, most: int, first: Bool
) -> I64:
    """Return `most` columns a member, I64[n, most], in the order that settles ties.

    Those of `first` Bool[s], then those the member engaged with most often, then by taste.
    """
    group = int(requests.group[rows.start])
    shelf, order = requests.shelf(group), _order(desk, requests, group)
    place = np.full(desk.shop.num_sales, NONE, dtype=np.int64)
    place[shelf[order]] = np.arange(len(shelf))
    history = desk.shop.history
    row, event = requests.past(rows, history.member_ptr)
    known = place[history.sale[event]]
    on_shelf = known != NONE
    tier = np.zeros(taste.shape, dtype=np.int64)
    np.add.at(tier, (row[on_shelf], known[on_shelf]), 1)
    tier = np.minimum(tier, _MOST_OFTEN) + (_MOST_OFTEN + 1) * first[order]
    ordered = taste[:, order]
    # one whole number a sale: no two are equal, and no chunk can round them otherwise
    key = np.where(np.isfinite(ordered), (tier << 32) + 1 + _rising(ordered), 0)
    key = (key << _PLACE_BITS) - np.arange(len(shelf))
    best = np.argpartition(-key, most - 1, axis=1)[:, :most]
    return order[np.sort(best, axis=1)]


_MOST_OFTEN = 62
"""Engagements above which it makes no difference; so a tier takes 7 bits beside the others' 56."""
_PLACE_BITS = 24
"""Room for the place of a sale on a shelf in its key."""


def _rising(numbers: F32) -> I64:
    """Return whole numbers in [0, 2^32) that rise as finite numbers do."""
    # adding 0 makes -0 a 0
    bits = (numbers + np.float32(0)).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF) + 0x7FFFFFFF, bits + 0x7FFFFFFF)
