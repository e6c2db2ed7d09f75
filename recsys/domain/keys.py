"""Ids of the outside world in, 64-bit keys out: the same on every machine, in any order, for good.

A whole number, be it a number or its text, gets splitmix64 of it; any other text gets the first
half of its MurmurHash3 (what `mmh3.hash64(text, signed=False)[0]` gives in other programs).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from struct import unpack
from typing import Any, Protocol, TypeAlias

import numpy as np
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from recsys.domain.ties import splitmix64

U64: TypeAlias = NDArray[np.uint64]


class Column(Protocol):
    """A column that hands itself over whole, without a Python object a row (Arrow's stream)."""

    def __len__(self) -> int:
        """Count the rows."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:  # ruff: ignore[bad-dunder-method-name]  # Arrow's name
        """Return the column as a capsule of Arrow's C interface."""


Ids: TypeAlias = pl.Series | NDArray[Any] | Sequence[str] | Sequence[int] | Column

BLOCK = 16_384
"""Ids hashed at a time: so many words fit into a core's own cache."""
_BYTES = 16
"""Of a block of MurmurHash3."""
_C1, _C2 = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)
_MIXERS = (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)
_WORD = (1 << 64) - 1
_NUMBER = re.compile(rb"0|-?[1-9][0-9]{0,18}")


def keys_of(ids: Ids) -> U64:
    """Hash ids to keys U64[n]; a number and the text of it (42, "42") have one key.

    Raises:
        TypeError: they are neither text nor whole numbers.
        ValueError: an id is missing, or is a number above 2^63 - 1.
    """
    column = ids if isinstance(ids, pl.Series) else pl.Series(ids)
    if not len(column):
        return np.zeros(0, dtype=np.uint64)
    if column.null_count():
        raise ValueError(f"{column.null_count()} of {len(column)} ids are missing")
    if column.dtype.is_integer():
        numbers = _signed(column)
        return _in_blocks([splitmix64(numbers[rows].view(np.uint64)) for rows in _rows(numbers)])
    if column.dtype not in {pl.String, pl.Categorical, pl.Enum}:
        raise TypeError(f"ids of type {column.dtype}: wanted text or whole numbers")
    texts = column.cast(pl.String)
    return _in_blocks([_of_texts(texts[rows]) for rows in _rows(texts)])


def key_of_one(text: bytes) -> int:
    """Return the key of one id in UTF-8, the same as `keys_of` gives, in some microseconds."""
    if _NUMBER.fullmatch(text) and -(1 << 63) <= (number := int(text)) < 1 << 63:
        return int(splitmix64(np.array(number & _WORD, dtype=np.uint64)))
    low = high = 0
    for first in range(0, len(text), _BYTES):
        block = text[first : first + _BYTES]
        words = unpack("<QQ", block.ljust(_BYTES, b"\0"))
        one = low ^ _turn(words[0] * int(_C1), 31) * int(_C2) & _WORD
        two = high ^ _turn(words[1] * int(_C2), 33) * int(_C1) & _WORD
        if len(block) == _BYTES:
            one = (_turn(one, 27) + high) * 5 + 0x52DCE729 & _WORD
            two = (_turn(two, 31) + one) * 5 + 0x38495AB5 & _WORD
        low, high = one, two
    low, high = low ^ len(text), high ^ len(text)
    low = low + high & _WORD
    return _finish(low) + _finish(high + low & _WORD) & _WORD


def murmur(texts: pl.Series) -> U64:
    """Return the first half of MurmurHash3 x64 128 with seed 0 of UTF-8 (Appleby 2011), U64[n]."""
    length = texts.str.len_bytes().cast(pl.Int64).to_numpy()
    start = np.cumsum(length) - length
    joined = texts.str.join("")[0].encode() + bytes(_BYTES)
    windows = sliding_window_view(np.frombuffer(joined, dtype=np.uint8), _BYTES)
    low, high = np.zeros((2, len(texts)), dtype=np.uint64)
    for first in range(0, int(length.max(initial=0)), _BYTES):
        row = np.flatnonzero(length > first)
        rest = length[row] - first
        block = windows[start[row] + first]
        block[np.arange(_BYTES) >= rest[:, None]] = 0
        words = block.view("<u8")
        before = high[row]
        one = low[row] ^ (_turned(words[:, 0] * _C1, 31) * _C2)
        two = before ^ (_turned(words[:, 1] * _C2, 33) * _C1)
        next_one = (_turned(one, 27) + before) * np.uint64(5) + np.uint64(0x52DCE729)
        next_two = (_turned(two, 31) + next_one) * np.uint64(5) + np.uint64(0x38495AB5)
        whole = rest >= _BYTES
        low[row], high[row] = np.where(whole, next_one, one), np.where(whole, next_two, two)
    low ^= length.astype(np.uint64)
    high ^= length.astype(np.uint64)
    low += high
    return _finished(low) + _finished(high + low)


def _rows(column: pl.Series | np.ndarray) -> list[slice]:
    return [slice(first, first + BLOCK) for first in range(0, len(column), BLOCK)]


def _in_blocks(blocks: list[U64]) -> U64:
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _signed(numbers: pl.Series) -> NDArray[np.int64]:
    signed = numbers.cast(pl.Int64, strict=False)
    if signed.null_count():
        raise ValueError(f"{signed.null_count()} ids are above 2^63 - 1: give such ids as text")
    return signed.to_numpy()


def _of_texts(texts: pl.Series) -> U64:
    numbers = texts.cast(pl.Int64, strict=False)
    # "042" and "+42" are no numbers: they are other ids than "42"
    plain = (numbers.cast(pl.String) == texts).fill_null(False).to_numpy()
    keys = np.empty(len(texts), dtype=np.uint64)
    # a column with gaps would leave polars as floats, which do not hold every whole number
    keys[plain] = splitmix64(numbers.fill_null(0).to_numpy()[plain].view(np.uint64))
    keys[~plain] = murmur(texts.filter(~pl.Series(plain)))
    return keys


def _turned(words: U64, bits: int) -> U64:
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))


def _finished(words: U64) -> U64:
    for factor in _MIXERS:
        words = (words ^ (words >> np.uint64(33))) * np.uint64(factor)
    return words ^ (words >> np.uint64(33))


def _turn(word: int, bits: int) -> int:
    word &= _WORD
    return (word << bits | word >> 64 - bits) & _WORD


def _finish(word: int) -> int:
    for factor in _MIXERS:
        word = (word ^ word >> 33) * factor & _WORD
    return word ^ word >> 33
