"""The member tower in numpy: vectors of members nobody embedded, where torch is not (MODEL 2.3).

It answers as `Embedder.members` does for a member with this past and these features. Members have
no vector of their own in the towers, so nothing is missing for one who is new.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.data.asof import history_end
from recsys.data.described import MemberColumns
from recsys.domain.arrays import F32, I32, I64, Bool
from recsys.domain.encoded import Features
from recsys.domain.events import Events
from recsys.towers.plain_causal import CausalReader
from recsys.towers.plain_past import CHANNELS, Window
from recsys.towers.plain_steps import linear, mlp, unit
from recsys.towers.untrained import Untrained

_EVENTS = 32 * 1024
"""Events read at once, so that a long history takes no more memory."""


@dataclass(frozen=True)
class Table:
    """The shared table of categories: rows that were trained, and the others as they began."""

    rows: I64
    """Which were trained, ascending, I64[r]."""
    trained: F32
    """F32[r, D]."""
    untrained: Untrained

    def __call__(self, rows: I32) -> F32:
        """Return some rows of the table, F32[n, D]."""
        place = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        found: F32 = self.trained[place]
        new = np.flatnonzero(self.rows[place] != rows)
        if len(new):
            once, which = np.unique(rows[new].astype(np.int64), return_inverse=True)
            found[new] = self.untrained(once)[which]
        return found


@dataclass(frozen=True)
class MemberTower:
    """Weights of the member tower, and what it reads: S sales, width D, K decay heads."""

    weights: Mapping[str, F32]
    """As torch names those of `member.MemberTower`."""
    half_days: tuple[float, ...]
    """Days after which an event counts half, for each of the K - 1 heads that forget."""
    length: int
    """Events that it looks back on."""
    heads: int
    """Attention heads of its causal encoder; 0 = pooled means alone."""
    table: Table
    x: F32
    """Input vectors of the sales, own vectors included where known, F32[S, D]."""
    log_price: F32
    """log(1 + price), F32[S]; NaN where unknown."""
    spectral: F32
    """What an engagement adds to the coordinates beside the towers', F32[S, c]; c may be 0."""
    epoch: int
    """UTC us from which whole seconds are counted."""
    columns: MemberColumns
    """How members are described."""

    @property
    def shape(self) -> tuple[int, int]:
        """Sales that a past may speak of, and the width D + c of the vectors it makes."""
        return len(self.x), self.x.shape[1] + self.spectral.shape[1]

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What it takes in memory and on disk, beside a little JSON and the encoders."""
        table = self.table
        marks = table.untrained.marks
        large = (self.x, self.log_price, self.spectral, table.rows, table.trained, marks)
        return (*self.weights.values(), *large)

    def __call__(self, history: Events, features: Features, *, at: int) -> F32:
        """Return u as of an instant (UTC us) of n members, F32[n, D + c].

        `history` and `features` are of these n; what happened at or after the instant is not read.
        """
        rows = np.arange(features.num, dtype=np.int32)
        end = history_end(history, rows, np.full(len(rows), at, dtype=np.int64))
        span = np.stack((history.member_ptr[:-1], end), axis=1)
        step = max(1, _EVENTS // self.length)
        parts = [np.zeros((0, self.x.shape[1]), dtype=np.float32)]
        for first in range(0, len(rows), step):
            some = slice(first, first + step)
            window = Window.of(history, span[some], at=at, length=self.length, epoch=self.epoch)
            parts.append(self._vectors(window, self._described(features, rows[some])))
        return np.concatenate((np.concatenate(parts), self._beside(history, span)), axis=1)

    def _vectors(self, window: Window, described: F32) -> F32:
        """Return u F32[n, D] from the pasts and what features say, F32[n, D]."""
        x = self.x[window.sale]
        h = self._pooled(x, window)
        if self.heads:
            h = h + self._reader(x, window)
        q = described + self._lately(window)
        y = h + q + mlp(np.concatenate((h, q), axis=1), self.weights)
        return np.concatenate((unit(y[:, :-1]), np.ones_like(y[:, :1])), axis=1)

    @cached_property
    def _reader(self) -> CausalReader:
        own = {name: one for name, one in self.weights.items() if name.startswith("reader.")}
        return CausalReader(
            {name.removeprefix("reader."): weight for name, weight in own.items()}, self.heads
        )

    @cached_property
    def _decay(self) -> tuple[F32, F32, F32]:
        """Log weight and power of age of each kind and channel, F32[35, K]; days, F32[K]."""
        kind, channel = self.weights["history.kind_weight"], self.weights["history.channel_weight"]
        power = np.logaddexp(np.float32(0), self.weights["history.exponent"])
        power[:, -1] = 0  # the last head never forgets
        weight = (kind[:, None] + channel).reshape(-1, kind.shape[1])
        days = np.array([*self.half_days, 1.0], dtype=np.float32)
        return weight, np.repeat(power, CHANNELS, axis=0), days

    def _pooled(self, x: F32, window: Window) -> F32:
        """Return the mixed means over the past F32[n, D]; `x` F32[n, L, D] of its events."""
        weight, power, half = self._decay
        aged = np.log1p(window.days[:, :, None] / half)
        by_head = np.exp(weight[window.what] - power[window.what] * aged) * window.valid[:, :, None]
        pooled = by_head.swapaxes(1, 2) @ x
        pooled = pooled / (by_head.sum(axis=1)[:, :, None] + np.float32(1e-6))
        return linear(pooled.reshape(len(x), -1), self.weights["history.mix.weight"])

    def _lately(self, window: Window) -> F32:
        """Return what counts, prices and the last event say of members, F32[n, D]."""
        weights = self.weights
        numbers = window.numbers(self.log_price) - weights["number_mean"]
        numbers = np.nan_to_num(numbers * weights["number_scale"], nan=0.0)
        bucket = np.log2(1 + window.so_far.astype(np.float32)).astype(np.int64)
        lately = weights["activity"][np.minimum(bucket, len(weights["activity"]) - 1)]
        lately = lately + weights["last_channel"][window.last_channel]
        return lately + linear(numbers, weights["numbers.weight"])

    def _described(self, features: Features, rows: I32) -> F32:
        """Return what features say of some members, F32[n, D]."""
        start, count = features.ptr[rows], np.diff(features.ptr)[rows]
        owner = np.repeat(np.arange(len(rows)), count)
        cell = np.arange(len(owner)) + (start - np.cumsum(count) + count)[owner]
        weight = features.weight[cell] * self.weights["fields.scale"][features.field[cell]]
        said = np.zeros((len(rows), self.x.shape[1]), dtype=np.float32)
        np.add.at(said, owner, weight[:, None] * self.table(features.row[cell]))
        if "fields.dense.weight" in self.weights:
            said = said + linear(features.dense[rows], self.weights["fields.dense.weight"])
        return said

    @cached_property
    def _has_coordinates(self) -> Bool:
        marks: Bool = (self.spectral != 0).any(axis=1)
        return marks

    def _beside(self, history: Events, span: I64) -> F32:
        """Return the spectral coordinates of members, F32[n, c], as `spectral.Columns.members`."""
        folded = np.zeros((len(span), self.spectral.shape[1]), dtype=np.float32)
        for row, (start, end) in enumerate(span.tolist() if folded.size else []):
            sales = np.unique(history.sale[start:end])
            known = sales[self._has_coordinates[sales]]
            if len(known):
                folded[row] = self.spectral[known].sum(axis=0) / np.float32(len(known) ** 0.5)
        return folded
