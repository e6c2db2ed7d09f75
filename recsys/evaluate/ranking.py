"""Exact places of targets on whole shelves, with one total order that no row number decides.

A key joins a score (upper 32 bits, order-preserving) and a hash of (seed, member, sale) (lower
32 bits), so a constant scorer ranks like a random one and every sort is a sort of integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.domain.arrays import F32, F64, I32, I64, Bool
from recsys.domain.ties import keyed

U64 = NDArray[np.uint64]
HALF = np.uint64(32)
STEP = np.uint64(1) << HALF
"""One score higher, as keys count."""
BEYOND = np.iinfo(np.uint64).max
"""Above every key."""
BYTE = 255
"""What one byte can count."""
WIDE = 1_000
"""Sales of a shelf from which on its rows are looked up one by one."""


@dataclass(frozen=True)
class Ahead:
    """t targets: how many sales of a pool come before each."""

    by_key: I64
    """Ahead by score and tie rule, I64[t]."""
    by_score: I64
    """Scored strictly higher, I64[t]."""
    equal: I64
    """Scored alike, the target among them, I64[t]."""

    def less(self, part: Ahead) -> Ahead:
        """Return the counts in the pool that is left when `part` is taken out."""
        return Ahead(
            self.by_key - part.by_key, self.by_score - part.by_score, self.equal - part.equal
        )

    @property
    def rank(self) -> F64:
        """Place of each target, from 1, F64[t]."""
        place: F64 = np.add(self.by_key, 1, dtype=np.float64)
        return place

    @property
    def halfway(self) -> F64:
        """Count of better sales where ties count half, F64[t]."""
        better: F64 = np.add(self.by_score, 0.5 * (self.equal - 1), dtype=np.float64)
        return better


def tie_bits(members: I32, sales: I32, seed: int) -> U64:
    """Return the lower half of all keys, U64[n, s]."""
    return keyed(seed, members[:, None], sales[None, :]) >> HALF


def keys(scores: F32, ties: U64) -> U64:
    """Join scores F32[n, s] and tie bits into keys U64[n, s], all above 0.

    Raises:
        ValueError: a score is not a number.
    """
    scores = np.asarray(scores, dtype=np.float32) + np.float32(0)
    if scores.shape != ties.shape:
        raise ValueError(f"scores {scores.shape} for a shelf and requests of {ties.shape}")
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} of {scores.size} scores are not numbers")
    bits = scores.view(np.uint32)
    negative = bits >> np.uint32(31) == 1
    ordered = np.where(negative, ~bits, bits | np.uint32(0x80000000))
    return (ordered.astype(np.uint64) << HALF) | ties


@dataclass(frozen=True)
class Order:
    """n shelves of s sales, and where t targets stand in them.

    Nothing is sorted but the edges of the targets: each sale is told how many of these it
    reaches, which gives the places in any pool by counting.
    """

    keys: U64
    """U64[n, s]."""
    row: I64
    """Shelf of each target, I64[t]."""
    cell: I64
    """row * (edges + 1) + how many edges of the shelf are at or below each key, I64[n, s]."""
    rung: I64
    """The same of the least keys of: this score, beyond this key, beyond this score; I64[3, t]."""
    edges: int
    """Edges of the shelf that has most of them."""

    @classmethod
    def of(cls, keys: U64, targets: tuple[I64, I64]) -> Order:
        """Look up the targets (row, column)."""
        row, column = targets
        own = keys[row, column]
        score = (own >> HALF) << HALF
        edges = np.stack([score, own + np.uint64(1), score + STEP])
        ladder = _ladder(edges, row, len(keys))
        cell = _each_row(ladder, keys) if keys.shape[1] >= WIDE else _at_once(ladder, keys)
        cell += np.arange(len(keys))[:, None] * (ladder.shape[1] + 1)
        return cls(
            keys=keys,
            row=row,
            cell=cell,
            rung=_at_once(ladder[row], edges.T).T,
            edges=ladder.shape[1],
        )

    def best(self, k: int) -> I64:
        """Return the columns of the k highest keys of each row, best first, I64[n, min(k, s)]."""
        s = self.keys.shape[1]
        columns = np.broadcast_to(np.arange(s), self.keys.shape)
        if k < s:
            columns = np.argpartition(self.keys, s - k, axis=1)[:, s - k :]
        order = np.argsort(np.take_along_axis(self.keys, columns, axis=1), axis=1)
        return np.take_along_axis(columns, order[:, ::-1], axis=1)

    def ahead(self, pool: Bool | None = None) -> Ahead:
        """Count what comes before each target in a pool Bool[1 or n, s] of sales."""
        n, width = len(self.keys), self.edges + 1
        cell = self.cell
        if pool is not None:
            cell = cell[:, pool[0]] if len(pool) == 1 else cell[pool]
        count = np.bincount(cell.ravel(), minlength=n * width).reshape(n, width)
        beyond = np.cumsum(count[:, ::-1], axis=1)[:, ::-1]
        at_least, by_key, by_score = beyond[self.row, self.rung]
        return Ahead(by_key=by_key, by_score=by_score, equal=at_least - by_score)


def _ladder(edges: U64, row: I64, num: int) -> U64:
    """Return the edges [3, t] of each row, ascending, U64[num, 2^b - 1]; beyond all keys behind."""
    flat, rows = edges.ravel(), np.tile(row, len(edges))
    order = np.lexsort((flat, rows))
    count = np.bincount(rows, minlength=num)
    width = (1 << int(count.max(initial=0)).bit_length()) - 1
    ladder = np.full((num, width), BEYOND, dtype=np.uint64)
    rung = np.arange(len(flat)) - (np.cumsum(count) - count)[rows[order]]
    ladder[rows[order], rung] = flat[order]
    return ladder


def _each_row(ladder: U64, keys: U64) -> I64:
    """Count the rungs of each row at or below its keys U64[n, s], I64[n, s]: few, wide rows.

    One comparison of the whole row a rung: processors do that faster than any bisection.
    """
    reached = np.zeros(keys.shape, dtype=np.int64)
    for rungs, own, found in zip(ladder, keys, reached, strict=True):
        real = rungs[rungs < BEYOND]
        for first in range(0, len(real), BYTE):
            some = np.zeros(len(own), dtype=np.uint8)
            for rung in real[first : first + BYTE]:
                some += (own >= rung).view(np.uint8)
            np.add(found, some, out=found)
    return reached


def _at_once(ladder: U64, keys: U64) -> I64:
    """Count the same by bisecting all rows at once: many, narrow rows."""
    n, width = ladder.shape
    start = np.arange(n)[:, None] * width - 1
    reached = np.zeros(keys.shape, dtype=np.int64)
    step = (width + 1) // 2
    while step:
        reached += step * (ladder.ravel()[start + reached + step] <= keys)
        step //= 2
    return reached
