"""What members did before their requests, as flat cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, F64, I32, I64, Bool
from recsys.domain.events import DAY, KIND_WEIGHTS, Events
from recsys.domain.requests import Requests
from recsys.rerank.novelty import is_new


@dataclass(frozen=True)
class Past:
    """c earlier engagements of n requests."""

    row: I64
    """Which of the n requests, I64[c], ascending."""
    sale: I32
    """I32[c]."""
    weight: F64
    """KIND_WEIGHTS of the event, F64[c]."""
    age_us: I64
    """From the event to the request, I64[c]."""

    def decayed(self, half_life_us: float) -> F64:
        """Return the weights halved for each half-life of age, F64[c]."""
        return self.weight * np.exp2(-self.age_us / half_life_us)


def past(history: Events, requests: Requests, rows: slice) -> Past:
    """Gather the engagements strictly before each request of `rows`."""
    row, event = requests.past(rows, history.member_ptr)
    return Past(
        row=row,
        sale=history.sale[event],
        weight=KIND_WEIGHTS[history.kind[event]].astype(np.float64),
        age_us=requests.at[rows][row] - history.at[event],
    )


def columns(sales: I32, num_sales: int) -> I64:
    """Return where each of all sales stands on a shelf, I64[num_sales]; -1 = not on it."""
    where = np.full(num_sales, -1, dtype=np.int64)
    where[sales] = np.arange(len(sales))
    return where


def summed(cells: tuple[I64, I64 | I32], shape: tuple[int, int], weight: F64 | None = None) -> F32:
    """Add up weights (1 where none are given) at (row, column) cells into F32[shape]."""
    row, column = cells
    flat = np.bincount(row * shape[1] + column, weights=weight, minlength=shape[0] * shape[1])
    return flat.astype(np.float32).reshape(shape)


def marked(cells: tuple[I64, I64 | I32], shape: tuple[int, int]) -> Bool:
    """Mark the (row, column) cells in Bool[shape]."""
    marks = np.zeros(shape, dtype=np.bool_)
    marks[cells] = True
    return marks


def known(before: Past, shelf: I32, *, maker: tuple[I32, int], num: int) -> Bool:
    """Mark the sales of a shelf I32[s] whose brand is not new to the member, Bool[num, s].

    `maker` holds the brand of every sale and the one that stands for "not known": sales without a
    brand share none, each is known by itself. New is what it is to the slates (rerank.novelty).
    """
    of, nobody = maker
    lately = ~is_new((before.age_us / DAY).astype(np.float32))
    row, sale = before.row[lately], before.sale[lately]
    met = marked((row, of[sale]), (num, nobody + 1))
    met[:, nobody] = False
    place = columns(shelf, len(of))[sale]
    again = place >= 0
    return met[:, of[shelf]] | marked((row[again], place[again]), (num, len(shelf)))
