"""Rows of the shared table that no value of the training pointed at, without torch.

`two_tower.initial_rows` draws the whole table from the seed, row after row. A bundle that carried
it would be larger by 64 MiB at the usual settings; this is the same stream, entered at marks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from recsys.domain.arrays import F32, I64

U32: TypeAlias = NDArray[np.uint32]

_STATE = 624
"""Words of a Mersenne twister (Matsumoto and Nishimura 1998)."""
_MARKS = 512
"""Where the stream can be entered, at most: 2.4 KiB each."""
_LEAST = 16
"""Rows between two marks, at least: normals are made 16 at a time."""
_NOBODY = np.random.SeedSequence(0)
"""A stream must start somewhere, and the system's randomness is slow to ask."""
_SPREAD = 0.1
"""Length of a row, as `towers.features.START`: that module imports torch."""


@dataclass(frozen=True)
class Untrained:
    """The table before training, 2^k rows of width `dim`."""

    dim: int
    table_rows: int
    marks: U32
    """States of the stream, U32[marks, 624], one every `stride` rows."""

    @classmethod
    def of(cls, seed: int, *, dim: int, table_rows: int) -> Untrained:
        """Run through the stream once and leave marks; a second for 2^20 rows of 128."""
        stream = np.random.MT19937(_NOBODY)
        _enter(stream, _seeded(seed), _STATE)
        stride = max(_LEAST, table_rows // _MARKS)
        marks = []
        for _ in range(0, table_rows, stride):
            marks.append(stream.state["state"]["key"].copy())
            stream.random_raw(stride * dim, output=False)
        return cls(dim, table_rows, np.stack(marks))

    @property
    def stride(self) -> int:
        """Rows from one mark to the next."""
        return self.table_rows // len(self.marks)

    def __call__(self, rows: I64) -> F32:
        """Return some rows of the table, F32[n, dim]; each costs `stride` rows of the stream."""
        stream = np.random.MT19937(_NOBODY)
        return np.stack([self._row(row, stream) for row in rows.tolist()])

    def _row(self, row: int, stream: np.random.MT19937) -> F32:
        mark, within = divmod(row, self.stride)
        _enter(stream, self.marks[mark], _place(mark * self.stride * self.dim))
        # a normal needs a partner from the same sixteen draws
        first = within * self.dim // 16 * 16
        last = -(-((within + 1) * self.dim) // 16) * 16
        stream.random_raw(first, output=False)
        normal = _normal(stream.random_raw(last - first))
        start = within * self.dim - first
        return normal[start : start + self.dim] * np.float32(_SPREAD / math.sqrt(self.dim))


def _normal(words: NDArray[np.uint64]) -> F32:
    """Turn words, 16 and 16, into normals as torch does on a CPU (Box and Muller 1958), F32[n]."""
    uniform = (words & np.uint64((1 << 24) - 1)).astype(np.float32) * np.float32(2**-24)
    one, two = uniform.reshape(-1, 2, 8).swapaxes(0, 1)
    radius = np.sqrt(np.float32(-2) * np.log(1 - one))
    angle = np.float32(2 * math.pi) * two
    both = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    return both.astype(np.float32).reshape(-1)


def _seeded(seed: int) -> U32:
    """Return the first state of a seed, as the twister's authors set it."""
    word, key = seed & 0xFFFFFFFF, np.empty(_STATE, dtype=np.uint32)
    for place in range(_STATE):
        key[place] = word
        word = (1812433253 * (word ^ (word >> 30)) + place + 1) & 0xFFFFFFFF
    return key


def _place(draws: int) -> int:
    """Return how many words of its state a stream has given out after so many draws."""
    return (draws - 1) % _STATE + 1 if draws else _STATE


def _enter(stream: np.random.MT19937, key: U32, place: int) -> None:
    stream.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": place}}
