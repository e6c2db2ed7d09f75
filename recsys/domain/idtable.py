"""Ids of the outside world as arrays: a row an id, an id a row, and no Python object for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
import polars as pl

from recsys.domain.arrays import I32, I64, NONE, U8, Bool
from recsys.domain.keys import U64, Ids, key_of_one, keys_of

FEW = 16
"""Up to so many ids are looked up one by one."""
SAMPLE = 1_024
"""Ids that are looked up to see whether a table finds what it holds, at most."""


@dataclass(frozen=True)
class Order:
    """The rows of n ids by the hash of each: what a look-up searches."""

    key: U64
    """`recsys.domain.keys` of the ids, U64[n], ascending."""
    row: I32
    """The row each key is of, I32[n]."""

    @classmethod
    def of(cls, ids: Ids) -> Order:
        """Hash and sort ids; rows of equal keys ascend."""
        keys = keys_of(ids)
        row = np.argsort(keys)
        if (np.diff(keys[row]) == 0).any():
            row = np.argsort(keys, kind="stable")
        return cls(keys[row], row.astype(np.int32))


@dataclass(frozen=True, eq=False)
class IdTable:
    """n ids by row: their UTF-8 one after another, and a hash to find each.

    The arrays may be memory-mapped. A table reads like the column it is: `len`, `ids[3]` is a
    text, `ids[10:20]`, `ids[rows]` and `ids[mask]` are tables; `pl.Series(ids)` takes it whole.
    """

    text: U8
    """UTF-8 of all ids, U8[bytes]."""
    start: I64
    """Id r is text[start[r]:start[r + 1]], I64[n + 1]."""
    sorted_by: Order | None = None
    """The order of its keys; None = sorted when first asked."""

    @classmethod
    def of(cls, ids: Ids, what: str) -> IdTable:
        """Make the table of ids in the order of their rows; `what` says in errors whose they are.

        Raises:
            ValueError: an id is missing or stands there twice.
        """
        texts = pl.Series(ids, dtype=pl.String)
        if texts.null_count():
            raise ValueError(f"the id of a {what} is missing")
        return cls(*_packed(texts)).checked(what)

    def checked(self, what: str) -> IdTable:
        """Return the table if each id is there once and is found.

        Raises:
            ValueError: an id stands there twice, or the order is not that of these ids.
        """
        key, row = self.order.key, self.order.row
        there = np.zeros(len(self), dtype=np.bool_)
        if len(row) == len(key) == len(self) and (not len(row) or row.min() >= 0):
            there[row[row < len(self)]] = True
        if not there.all() or (key[1:] < key[:-1]).any() or not self._holds_together():
            raise ValueError(f"the table of {what}s is not in order")
        equal = np.flatnonzero(key[1:] == key[:-1])
        alike = self[row[np.union1d(equal, equal + 1)].astype(np.int64)].series()
        if twice := len(alike) - alike.n_unique():
            raise ValueError(f"{twice} ids of {what}s stand there twice")
        some = np.unique(np.linspace(0, len(self) - 1, min(SAMPLE, len(self))).astype(np.int64))
        if (self.rows(self[some].tolist()) != some).any():
            raise ValueError(f"the table of {what}s does not find the ids it holds")
        return self

    def _holds_together(self) -> bool:
        ends = self.start[0] == 0 and self.start[-1] == len(self.text)
        return bool(ends and (self.start[1:] >= self.start[:-1]).all())

    @cached_property
    def order(self) -> Order:
        """The order of the keys."""
        return Order.of(self.series()) if self.sorted_by is None else self.sorted_by

    def rows(self, asked: Sequence[str]) -> I64:
        """Return the row of each id, I64[k]; NONE where it is not known."""
        # half a character of UTF-16 is in no id, and is asked for all the same
        texts = [one.encode("utf-8", "surrogatepass") for one in asked]
        if len(texts) <= FEW:
            found = (self._row(text) for text in texts)
            return np.fromiter(found, dtype=np.int64, count=len(texts))
        valid = [text.decode("utf-8", "replace") for text in texts]
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        joined = np.frombuffer(b"".join(texts), dtype=np.uint8)
        return self._rows(keys_of(valid), IdTable(joined, _starts(lengths)))

    def _row(self, text: bytes) -> int:
        key = np.uint64(key_of_one(text))
        place = int(np.searchsorted(self.order.key, key))
        while place < len(self) and self.order.key[place] == key:
            row = int(self.order.row[place])
            if self._bytes(row) == text:
                return row
            place += 1
        return NONE

    def _rows(self, keys: U64, asked: IdTable) -> I64:
        found = np.full(len(keys), NONE, dtype=np.int64)
        place, left = np.searchsorted(self.order.key, keys), np.arange(len(keys))
        while len(left):
            here = place < len(self)
            here[here] = self.order.key[place[here]] == keys[left[here]]
            place, left = place[here], left[here]
            row = self.order.row[place].astype(np.int64)
            same = self._same(row, asked, left)
            found[left[same]] = row[same]
            # another id of the same key may stand behind it
            place, left = place[~same] + 1, left[~same]
        return found

    def _same(self, rows: I64, others: IdTable, others_rows: I64) -> Bool:
        """Compare ids with those of another table pair by pair, Bool[k]."""
        lengths = self.start[rows + 1] - self.start[rows]
        first = others.start[others_rows]
        same: Bool = lengths == others.start[others_rows + 1] - first
        pair, size = np.flatnonzero(same), lengths[same]
        ours = self.text[_places(self.start[rows[pair]], size)]
        differ = ours != others.text[_places(first[pair], size)]
        same[np.repeat(pair, size)[differ]] = False
        return same

    def _bytes(self, row: int) -> bytes:
        return self.text[self.start[row] : self.start[row + 1]].tobytes()

    def __len__(self) -> int:
        """Count the ids."""
        return len(self.start) - 1

    @overload
    def __getitem__(self, rows: int | np.integer[Any]) -> str: ...

    @overload
    def __getitem__(self, rows: slice | I64 | I32 | Bool | Sequence[int]) -> IdTable: ...

    def __getitem__(
        self, rows: int | np.integer[Any] | slice | I64 | I32 | Bool | Sequence[int]
    ) -> str | IdTable:
        """Return one id, or the table of some: a slice, rows, or a mask Bool[n]."""
        if isinstance(rows, int | np.integer):
            return self._bytes(range(len(self))[rows]).decode()
        if isinstance(rows, slice) and rows.step in {None, 1}:
            first, last, _ = rows.indices(len(self))
            start = np.asarray(self.start[first : max(first, last) + 1])
            return IdTable(self.text[start[0] : start[-1]], start - start[0])
        taken = np.arange(len(self))[np.asarray(rows) if not isinstance(rows, slice) else rows]
        lengths = self.start[taken + 1] - self.start[taken]
        return IdTable(self.text[_places(self.start[taken], lengths)], _starts(lengths))

    def __iter__(self) -> Iterator[str]:
        """Go through the ids in the order of their rows."""
        return iter(self.tolist())

    def series(self) -> pl.Series:
        """Return the ids as a column of text."""
        offset, length = (pl.Series(part) for part in (self.start[:-1], np.diff(self.start)))
        whole = pl.lit(pl.Series([self.text.tobytes()], dtype=pl.Binary)).first()
        return pl.select(whole.bin.slice(offset, length).cast(pl.String)).to_series().alias("")

    def tolist(self) -> list[str]:
        """Return the ids as Python texts: for some of them, not for a million."""
        texts: list[str] = self.series().to_list()
        return texts

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> np.ndarray:  # ruff: ignore[bad-dunder-method-name]  # numpy's name
        """Return the ids as numpy has them: a Python object each."""
        return np.array(self.tolist(), dtype=np.str_ if dtype is None else dtype)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:  # ruff: ignore[bad-dunder-method-name]  # Arrow's name
        """Return the ids as a capsule of Arrow's C interface."""
        return self.series().__arrow_c_stream__(requested_schema)


def _packed(texts: pl.Series) -> tuple[U8, I64]:
    """Return UTF-8 of all texts one after another, and where each starts."""
    lengths = texts.str.len_bytes().cast(pl.Int64).to_numpy()
    joined: str = texts.str.join("")[0] if len(texts) else ""
    return np.frombuffer(joined.encode(), dtype=np.uint8), _starts(lengths)


def _starts(lengths: I64) -> I64:
    """Return where stretches of some lengths start when they follow each other, and the end."""
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths)))


def _places(first: I64, lengths: I64) -> I64:
    """Return the positions of stretches that start at `first`, one stretch after another."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(first - before, lengths) + np.arange(int(lengths.sum()))
