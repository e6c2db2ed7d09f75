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


def best(all_keys: U64, k: int) -> I64:
    """Return the columns of the k highest keys of each row, best first, I64[n, min(k, s)]."""
    width = all_keys.shape[1]
    if k * 4 >= width:
        return np.argsort(all_keys, axis=1)[:, ::-1][:, :k]
    top = np.argpartition(all_keys, width - k, axis=1)[:, width - k :]
    order = np.argsort(np.take_along_axis(all_keys, top, axis=1), axis=1)[:, ::-1]
    return np.take_along_axis(top, order, axis=1)


def ahead(all_keys: U64, targets: tuple[I64, I64], pool: Bool | None = None) -> Ahead:
    """Count what comes before each target (row, column) in a pool Bool[1 or n, s] of sales."""
    row, column = targets
    own = all_keys[row, column]
    score = (own >> HALF) << HALF
    ordered = np.sort(_pooled(all_keys, pool), axis=1)
    width = ordered.shape[1]
    higher = width - _below(ordered, row, score + STEP)
    return Ahead(
        by_key=width - _below(ordered, row, own + np.uint64(1)),
        by_score=higher,
        equal=width - _below(ordered, row, score) - higher,
    )


def _pooled(all_keys: U64, pool: Bool | None) -> U64:
    if pool is None:
        return all_keys
    if len(pool) == 1:
        return all_keys[:, pool[0]]
    # small pools of a wide shelf are packed to the left: sorting is what costs
    row, column = np.nonzero(pool)
    count = np.bincount(row, minlength=len(pool))
    packed = np.zeros((len(pool), max(int(count.max(initial=0)), 1)), dtype=np.uint64)
    packed[row, np.arange(len(row)) - (np.cumsum(count) - count)[row]] = all_keys[row, column]
    return packed


def _below(ordered: U64, row: I64, key: U64) -> I64:
    """Count the cells of ascending rows that are below a key: all bisections at once."""
    width = ordered.shape[1]
    low = np.zeros(len(row), dtype=np.int64)
    high = np.full(len(row), width, dtype=np.int64)
    for _ in range(width.bit_length()):
        middle = (low + high) // 2
        open_ = low < high
        below = open_ & (ordered[row, np.minimum(middle, width - 1)] < key)
        low = np.where(below, middle + 1, low)
        high = np.where(open_ & ~below, middle, high)
    return low
