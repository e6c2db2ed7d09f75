"""How often a member was shown a brand in vain (DECISION 1)."""

from __future__ import annotations

import numpy as np

from recsys.data.asof import count_before
from recsys.domain.arrays import F32
from recsys.domain.events import DAY
from recsys.domain.shown import Shown
from recsys.rerank.signals import Question

WINDOW_DAYS = 14.0
"""How far back showings tire (ours; DECISION names none)."""


def shown_in_vain(question: Question, shown: Shown) -> F32:
    """Count the showings of each sale's brand since the member last engaged with it, F32[n, c].

    Showings of the last WINDOW_DAYS before the request count; n requests, c sales in question.
    """
    requests, rows, maker = question.requests, question.rows, question.maker
    member, at = requests.member[rows], requests.at[rows]
    first, last = (
        count_before(shown.member_ptr, shown.at, member, at=until)
        for until in (at - round(WINDOW_DAYS * DAY), at)
    )
    count = last - first
    row = np.repeat(np.arange(len(count)), count)
    place = np.arange(len(row)) + (first - np.cumsum(count) + count)[row]
    key = question.desk.maker[shown.sale[place]]
    cell, seen = maker.places(row, key)
    engaged = np.full(maker.num * len(maker.keys), np.iinfo(np.int64).min)
    trail = question.trail
    touched, here = question.by_maker
    # events ascend by time inside each row: later assignments win
    engaged[touched] = question.desk.shop.history.at[trail.event[here]]
    in_vain = shown.at[place[seen]] > engaged[cell]
    counted = np.bincount(cell[in_vain], minlength=len(engaged))
    return maker.spread(counted.astype(np.float32))


def tired(question: Question, per_showing: float) -> F32:
    """Return the factor f in (0, 1] that value is worth after showings in vain, F32[n, c].

    `per_showing` is f after one; 1 = nothing tires, F32[1, 1].
    """
    shown = question.desk.shop.shown
    if per_showing >= 1 or not len(shown):
        return np.ones((1, 1), dtype=np.float32)
    worn: F32 = np.float32(per_showing) ** shown_in_vain(question, shown)
    return worn
