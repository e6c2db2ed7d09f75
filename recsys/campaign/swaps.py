"""Single swaps: a sale off a slate and another in its place, the cheapest that mend a promise."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.campaign.bounds import Exposure, Promises
from recsys.domain.arrays import F32, I16, I64, NONE, Bool
from recsys.domain.slates import FLAG_PINNED, Slates
from recsys.domain.ties import keyed
from recsys.rerank.utility import ordered_sum

T = TypeVar("T", np.float32, np.int64)
ROUNDING = 1e-9
"""Members by which share x members may be off the whole number that is meant."""


@dataclass(frozen=True)
class Spare:
    """What could take a place on the slates of m members, k sales each."""

    sales: I64
    """Sale rows that the member may be shown and is not, I64[m, k]; NONE pads."""
    parts: F32
    """Parts of the gain each would have there, F32[m, k, len(PARTS)]."""
    brand: I64
    """Brand key of each sale of the promises' shelf, I64[S]."""
    max_per_brand: int = 0
    """Sales of one brand on a slate; 0 = any number."""


@dataclass(frozen=True)
class Swaps:
    """One swap each for t members, the cheapest first."""

    row: I64
    """Of the slates in hand, I64[t]."""
    slot: I64
    spare: I64
    """Which of the member's spare sales, I64[t]."""
    out: I64
    """Column of the sale taken off, I64[t]."""
    into: I64
    """Column of the sale put there, I64[t]."""
    loss: F32
    """Gain lost, F32[t]."""

    def __len__(self) -> int:
        """Count them."""
        return len(self.row)

    def first(self, num: int) -> Swaps:
        """Return the cheapest `num`."""
        return Swaps(*(getattr(self, field.name)[:num] for field in fields(self)))


@dataclass(frozen=True)
class Room:
    """What each of B bounds can bear; < 0 = it is missed by so many sales."""

    down: I64
    """Sales it can lose, I64[B]."""
    up: I64
    """Sales it can take on, I64[B]."""

    @classmethod
    def of(cls, promises: Promises, exposure: Exposure) -> Room:
        """Compare what everyone sees with what is promised, in whole sales."""
        shown, members = exposure.counts(promises)
        finite = np.isfinite(promises.upper)
        least = np.ceil(promises.lower * members - ROUNDING).astype(np.int64)
        top = np.where(finite, promises.upper, 0) * members + ROUNDING
        # two bounds that are nearly one may have no whole number between them
        most = np.maximum(np.floor(top).astype(np.int64), least)
        return cls(down=shown - least, up=np.where(finite, most - shown, np.iinfo(np.int64).max))

    @property
    def need(self) -> I64:
        """By how many sales each bound is missed, I64[B] >= 0."""
        return np.maximum(np.maximum(-self.down, -self.up), 0)

    def broken_by(self, promises: Promises) -> Bool:
        """Say which swaps take a bound past where it may go, Bool[C + 1, S, S] by (out, into)."""
        holds = promises.holds.astype(np.float32)
        without = 1 - holds
        full = (promises.within & (self.up < 1)[:, None]).T
        empty = (promises.within & (self.down < 1)[:, None]).T
        broken: Bool = np.stack([
            without[up].T @ holds[up] + holds[down].T @ without[down] > 0
            for up, down in zip(full, empty, strict=True)
        ])
        return broken

    def borne(self, change: I64) -> int:
        """Count the first swaps that all bounds bear together, given what each adds, I64[t, B]."""
        gained = np.maximum(change, 0).cumsum(axis=0) <= np.maximum(self.up, 0)
        lost = np.maximum(-change, 0).cumsum(axis=0) <= np.maximum(self.down, 0)
        # sums only rise: what is no longer borne stays so
        return int((gained & lost).all(axis=1).sum())


@dataclass(frozen=True)
class Hand:
    """The slates in hand, their sales as columns of the promises' shelf."""

    promises: Promises
    spare: Spare
    segment: I16
    order: I64
    """Which of two equal losses comes first, I64[m]."""
    shown: I64
    """I64[m, N] or NONE."""
    kept: F32
    """Gain of what is shown, F32[m, N]; inf where it must stay."""
    offered: I64
    """I64[m, k] or NONE."""
    gain: F32
    """Of what is offered, F32[m, k]."""

    @classmethod
    def of(cls, slates: Slates, spare: Spare, promises: Promises, *, segment: I16) -> Hand:
        """Take slates in hand; a pinned slot stays as it is.

        Raises:
            ValueError: a spare sale is on the slate.
        """
        shown, offered = (promises.groups.columns(sales) for sales in (slates.sales, spare.sales))
        if (
            (slates.sales[:, :, None] == spare.sales[:, None]) & (spare.sales != NONE)[:, None]
        ).any():
            raise ValueError("a spare sale is on the slate already")
        kept, gain = (
            ordered_sum(np.moveaxis(parts, -1, 0)) for parts in (slates.parts, spare.parts)
        )
        pinned = (slates.flags & FLAG_PINNED) > 0
        return cls(
            promises=promises,
            spare=spare,
            segment=segment,
            order=np.argsort(np.argsort(keyed(slates.members), kind="stable")),
            shown=shown,
            kept=np.where(pinned, np.float32(np.inf), kept),
            offered=offered,
            gain=gain,
        )

    def next(self, room: Room, free: Bool) -> Swaps | None:
        """Return swaps of free members (Bool[m]) for the bound that is missed most.

        As many as are needed and all bounds bear; where none helps, for the next bound, or None.
        """
        need, broken = room.need, room.broken_by(self.promises)
        for bound in np.argsort(-need, kind="stable")[: np.count_nonzero(need)].tolist():
            holds = self.promises.holds[bound]
            enters = holds if room.down[bound] < 0 else ~holds
            rows = np.flatnonzero(free & self.promises.within[bound, self.segment])
            swaps = self._cheapest(rows, enters, broken).first(int(need[bound]))
            if len(swaps):
                return swaps.first(room.borne(self._change(swaps)))
        return None

    def _cheapest(self, rows: I64, enters: Bool, broken: Bool) -> Swaps:
        """Return the cheapest swap of each row that puts in a sale of some, for one of others."""
        shown, offered = self.shown[rows], self.offered[rows]
        slot = _packed((shown != NONE) & ~enters[shown])
        spare = _packed((offered != NONE) & enters[offered])
        out, into = _taken(shown, slot), _taken(offered, spare)
        pair = (out[:, :, None], into[:, None, :])
        loss = _taken(self.kept[rows], slot)[:, :, None] - _taken(self.gain[rows], spare)[:, None]
        barred = broken[self.segment[rows, None, None], *pair] | self._crowded(shown, *pair)
        barred |= (slot == NONE)[:, :, None] | (spare == NONE)[:, None]
        loss = np.where(barred, np.float32(np.inf), loss).reshape(len(rows), -1)
        if not loss.size:
            none, nothing = rows[:0], np.zeros(0, dtype=np.float32)
            return Swaps(row=none, slot=none, spare=none, out=none, into=none, loss=nothing)
        place = loss.argmin(axis=1)
        least = loss[np.arange(len(rows)), place]
        some = np.lexsort((self.order[rows], least))[: int(np.isfinite(least).sum())]
        one, other = np.divmod(place[some], spare.shape[1])
        return Swaps(
            row=rows[some],
            slot=slot[some, one],
            spare=spare[some, other],
            out=out[some, one],
            into=into[some, other],
            loss=least[some],
        )

    def _crowded(self, shown: I64, out: I64, into: I64) -> Bool:
        """Say where a brand would stand too often on the slate, of the shape of out x into."""
        most, brand = self.spare.max_per_brand, self.spare.brand
        if not most:
            return np.zeros((1, 1, 1), dtype=np.bool_)
        there = (brand[shown][:, :, None] == brand[into]) & (shown != NONE)[:, :, None]
        crowded: Bool = there.sum(axis=1)[:, None] - (brand[out] == brand[into]) >= most
        return crowded

    def _change(self, swaps: Swaps) -> I64:
        """Return what each swap adds to each bound, in {-1, 0, 1}, I64[t, B]."""
        holds = self.promises.holds.T.astype(np.int64)
        within = self.promises.within.T[self.segment[swaps.row]]
        return (holds[swaps.into] - holds[swaps.out]) * within


def _packed(wanted: Bool) -> I64:
    """Return the places wanted in each row, I64[r, the most of any row], padded with NONE."""
    counts = wanted.sum(axis=1)
    order = np.argsort(~wanted, axis=1, kind="stable")[:, : int(counts.max(initial=0))]
    return np.where(np.arange(order.shape[1]) < counts[:, None], order, NONE)


def _taken(table: NDArray[T], places: I64) -> NDArray[T]:
    """Read places I64[r, w] of each row; NONE reads the first."""
    if not table.shape[1]:
        return np.zeros(places.shape, dtype=table.dtype)
    return np.take_along_axis(table, np.maximum(places, 0), axis=1)
