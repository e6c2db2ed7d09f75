"""Luck that depends on its keys alone: the same in any block, order or number of processes."""

from __future__ import annotations

from enum import IntEnum, auto
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from recsys.domain.arrays import F32, F64, I64, Bool
from recsys.domain.ties import keyed, splitmix64

U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]

GRID = 64
"""Styles and traits are multiples of 1 / GRID: float32 sums of their products are exact, so that a
matrix product has the same bits in any shape and on any machine."""


class Luck(IntEnum):
    """What a draw is for; two purposes never share their luck."""

    BRAND = auto()
    BRAND_STYLE = auto()
    CLUSTER = auto()
    SALE = auto()
    SALE_STYLE = auto()
    SALE_ERROR = auto()
    MEMBER = auto()
    TASTE = auto()
    OFFSET = auto()
    DRIFT = auto()
    HABIT = auto()
    NEED = auto()
    KNOWN = auto()
    LIKE = auto()
    VISITS = auto()
    VISIT_TIME = auto()
    OPEN = auto()
    PROXY = auto()
    LOOK = auto()
    CLICK = auto()
    VIEW = auto()
    PATH = auto()
    LEAVE = auto()
    SLATE = auto()
    FEATURE = auto()
    WORDS = auto()
    OLD_MODEL = auto()


def unit(words: U64) -> F32:
    """Turn words into numbers in [0, 1) by their upper 24 bits."""
    # by way of int32: processors turn that into float32 many at a time, uint64 one by one
    numbers = (words >> np.uint64(40)).astype(np.int32).astype(np.float32)
    numbers *= np.float32(2.0**-24)
    return numbers


@lru_cache(maxsize=4_096)
def salt(*purpose: int) -> U64:
    """Hash a purpose once for all blocks of a day, U64[], not to be written to."""
    return keyed(*purpose)


@lru_cache(maxsize=4_096)
def _salts(purpose: tuple[int, ...], width: int) -> U64:
    """Hash the purposes of a row of draws likewise, U64[width]."""
    return keyed(*purpose, np.arange(width))


def draw(keys: U64, *purpose: int) -> F32:
    """Draw one number in [0, 1) for each key and this purpose, F32 of the keys' shape."""
    return unit(splitmix64(keys ^ salt(*purpose)))


def draws(keys: U64, width: int, *purpose: int) -> F32:
    """Draw `width` numbers in [0, 1) for each key, F32[n, width]."""
    return unit(splitmix64(keys[:, None] ^ _salts(purpose, width)))


def normals(keys: U64, width: int, *purpose: int) -> F32:
    """Draw standard normal numbers, F32[n, width] (Box and Muller 1958)."""
    radius = draws(keys, width, *purpose, 0)
    angle = draws(keys, width, *purpose, 1)
    numbers: F32 = np.sqrt(-2 * np.log1p(-radius)) * np.cos(np.float32(2 * np.pi) * angle)
    return numbers


def cells(rows: U32, columns: U32) -> U32:
    """Draw 24 bits for each cell of rows x columns, U32[n, s].

    The mixer is lowbias32 of Wellons (Prospecting for hash functions, 2018).
    """
    x = rows[:, None] ^ columns[None, :]
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    x >>= np.uint32(8)
    return x


def places(mask: Bool) -> tuple[I64, I64]:
    """Return row and column of each true cell of Bool[n, s], in order of (row, column)."""
    # numpy finds them in one dimension many times faster than in two
    flat = mask.ravel().nonzero()[0]
    row = flat // max(1, mask.shape[1])
    return row, flat - row * mask.shape[1]


def on_grid(numbers: F32) -> F32:
    """Round to multiples of 1 / GRID within [-4, 4]."""
    scaled = np.rint(numbers * GRID)
    scaled.clip(-4 * GRID, 4 * GRID, out=scaled)
    scaled *= 1 / GRID
    return scaled.astype(np.float32, copy=False)


def pick(cumulative: F64, rows: np.ndarray, numbers: F32) -> NDArray[np.int64]:
    """Draw a column of each given row of cumulative shares F32[r, c] by numbers in [0, 1)."""
    last = cumulative.shape[1] - 1
    flat = (cumulative + np.arange(len(cumulative))[:, None]).ravel()
    # row by row: a search among the shares of one row stays in the first cache
    by_row = np.argsort(rows.astype(np.uint16), kind="stable")
    flat_at = np.empty(len(rows), dtype=np.int64)
    wanted = rows + numbers.astype(np.float64)
    flat_at[by_row] = np.searchsorted(flat, wanted.take(by_row), side="right")
    picked: NDArray[np.int64] = np.clip(flat_at - rows * (last + 1), 0, last)
    return picked
