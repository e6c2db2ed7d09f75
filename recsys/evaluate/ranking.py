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
NARROW = 8
"""Pools of less than one in NARROW sales are sorted by themselves."""


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
    """n shelves of s sales, sorted once, and where t targets stand in them."""

    keys: U64
    """U64[n, s]."""
    columns: I64
    """Columns by ascending key, I64[n, s]."""
    row: I64
    """Shelf of each target, I64[t]."""
    edges: U64
    """Least keys of: this score, beyond this key, beyond this score; U64[3, t]."""
    places: I64
    """How many keys of the shelf are below each edge, I64[3, t]."""

    @classmethod
    def of(cls, keys: U64, targets: tuple[I64, I64]) -> Order:
        """Sort keys and look up the targets (row, column)."""
        row, column = targets
        columns = np.argsort(keys, axis=1)
        own = keys[row, column]
        score = (own >> HALF) << HALF
        edges = np.stack([score, own + np.uint64(1), score + STEP])
        places = _below(np.take_along_axis(keys, columns, axis=1), row, edges)
        return cls(keys=keys, columns=columns, row=row, edges=edges, places=places)

    def best(self, k: int) -> I64:
        """Return the columns of the k highest keys of each row, best first, I64[n, min(k, s)]."""
        return self.columns[:, ::-1][:, :k]

    def ahead(self, pool: Bool | None = None) -> Ahead:
        """Count what comes before each target in a pool Bool[1 or n, s] of sales."""
        if pool is None:
            return _ahead(self.keys.shape[1] - self.places)
        if pool.sum(axis=1).max(initial=0) * NARROW > self.keys.shape[1]:
            return _ahead(self._wide(pool))
        packed = np.sort(_packed(self.keys, pool), axis=1)
        return _ahead(packed.shape[1] - _below(packed, self.row, self.edges))

    def _wide(self, pool: Bool) -> I64:
        # a running count along the one order costs less than another sort
        sorted_pool = (
            pool[0][self.columns]
            if len(pool) == 1
            else np.take_along_axis(pool, self.columns, axis=1)
        )
        count = np.zeros((len(self.keys), self.keys.shape[1] + 1), dtype=np.int32)
        np.cumsum(sorted_pool, axis=1, out=count[:, 1:])
        beyond: I64 = (count[self.row, -1] - count[self.row, self.places]).astype(np.int64)
        return beyond


def _ahead(beyond: I64) -> Ahead:
    at_least, by_key, by_score = beyond
    return Ahead(by_key=by_key, by_score=by_score, equal=at_least - by_score)


def _packed(keys: U64, pool: Bool) -> U64:
    """Move the keys of a pool to the left, 0 behind them, U64[n, widest]."""
    if len(pool) == 1:
        return keys[:, pool[0]]
    row, column = np.nonzero(pool)
    count = np.bincount(row, minlength=len(pool))
    packed = np.zeros((len(pool), int(count.max(initial=0))), dtype=np.uint64)
    packed[row, np.arange(len(row)) - (np.cumsum(count) - count)[row]] = keys[row, column]
    return packed


def _below(ordered: U64, row: I64, edges: U64) -> I64:
    """Count the cells of ascending rows below each edge [e, t]: all bisections at once."""
    width = ordered.shape[1]
    low = np.zeros(edges.shape, dtype=np.int64)
    high = np.full(edges.shape, width, dtype=np.int64)
    for _ in range(width.bit_length()):
        middle = (low + high) // 2
        open_ = low < high
        below = open_ & (ordered[row, np.minimum(middle, width - 1)] < edges)
        low = np.where(below, middle + 1, low)
        high = np.where(open_ & ~below, middle, high)
    return low
