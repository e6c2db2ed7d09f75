"""What members did before their requests, looked up sale by sale of a shelf."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.domain.arrays import F32, F64, I64, NONE, U8, Bool
from recsys.domain.events import DAY, Events
from recsys.domain.requests import Requests

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Trail:
    """The e earlier engagements of n requests, ascending by (row, time)."""

    num: int
    row: I64
    """Which of the n requests, I64[e]."""
    event: I64
    """Position in the shop's history, I64[e]."""
    sale: I64
    """I64[e]."""
    kind: U8
    days: F32
    """Age at the request in days, F32[e]."""
    day: I64
    """Which day it was, counted from 1970 in UTC, I64[e]."""

    @classmethod
    def of(cls, history: Events, requests: Requests, rows: slice) -> Trail:
        """Gather the engagements strictly before each request of `rows`."""
        row, event = requests.past(rows, history.member_ptr)
        age = requests.at[rows][row] - history.at[event]
        return cls(
            num=len(requests.at[rows]),
            row=row,
            event=event,
            sale=history.sale[event].astype(np.int64),
            kind=history.kind[event],
            days=(age / DAY).astype(np.float32),
            day=history.at[event] // DAY,
        )

    @cached_property
    def counts(self) -> I64:
        """Engagements of each request, I64[n]."""
        return np.bincount(self.row, minlength=self.num)

    @cached_property
    def ends(self) -> I64:
        """Where each request's engagements end, I64[n]."""
        return np.cumsum(self.counts)

    def latest_sales(self, num: int) -> I64:
        """Return the last `num` sales engaged with, newest first, I64[n, num], padded with NONE."""
        if not len(self.row):
            return np.full((self.num, num), NONE, dtype=np.int64)
        back = np.arange(num)
        places = self.ends[:, None] - 1 - back
        known = back < self.counts[:, None]
        return np.where(known, self.sale[np.maximum(places, 0)], NONE)


class Places(NamedTuple):
    """Where those of e events lie whose sales are in question, k of them."""

    place: I64
    """In a table of requests x keys, I64[k]."""
    event: I64
    """Which of the e events, ascending, I64[k]."""

    def of(self, chosen: Bool) -> Places:
        """Keep the events that are chosen, Bool[e]."""
        kept = chosen[self.event]
        return Places(self.place[kept], self.event[kept])


@dataclass(frozen=True)
class Grid:
    """Sums and latest events by (request, key of a sale), read back for each sale in question.

    A key is the sale itself, its brand or its category; only keys in question take room.
    """

    keys: I64
    """Distinct keys in question, ascending."""
    of_cell: I64
    """Which of them each cell has, I64[1, c] or I64[n, c]."""
    num: int

    @classmethod
    def of(cls, cells: I64, num: int) -> Grid:
        """Make room for the keys of cells I64[1, c] (one shelf for all) or I64[n, c]."""
        keys, inverse = np.unique(cells, return_inverse=True)
        return cls(keys=keys, of_cell=inverse.reshape(cells.shape), num=num)

    def places(self, row: I64, key: I64) -> Places:
        """Return where those of e events (row, key) lie that are in question."""
        if not len(self.keys):
            return Places(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        place = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        event = np.flatnonzero(self.keys[place] == key)
        return Places(row[event] * len(self.keys) + place[event], event)

    def sums(self, places: Places, weight: F64 | F32) -> F32:
        """Add weights of events, [e], at their places; return them at each cell, F32[n, c]."""
        size = self.num * len(self.keys)
        table = np.bincount(places.place, weights=weight[places.event], minlength=size)
        return self.spread(table.astype(np.float32))

    def latest(self, places: Places, event: I64) -> I64:
        """Return the last of e events, I64[e], at its place for each cell, I64[n, c], or NONE.

        Events ascend by time inside each row.
        """
        table = np.full(self.num * len(self.keys), NONE, dtype=np.int64)
        # later assignments win, so each place keeps its newest event
        table[places.place] = event[places.event]
        return self.spread(table)

    def spread(self, table: NDArray[T]) -> NDArray[T]:
        """Read a table of num x keys, flat, at each cell, T[n, c]."""
        square = table.reshape(self.num, len(self.keys))
        if len(self.of_cell) == 1:
            return square[:, self.of_cell[0]]
        return np.take_along_axis(square, self.of_cell, axis=1)
