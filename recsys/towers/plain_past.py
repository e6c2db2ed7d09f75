"""A member's past as the numpy tower sees it: the last events, and what they say in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.domain.arrays import F32, I64, Bool
from recsys.domain.events import DAY, Events, Kind

SECOND = 1_000_000
"""Microseconds in a second."""
CHANNELS = 5
LATELY = 4 + len(Kind)
"""Numbers made of a past: see `Window.numbers`."""


@dataclass(frozen=True)
class Window:
    """The last L events before an instant of n members, newest first, padded with valid = False.

    As `resident.Window`, in numpy.
    """

    sale: I64
    """I64[n, L]; 0 where padded."""
    what: I64
    """kind * 5 + channel, I64[n, L]."""
    days: F32
    """Days between event and instant, F32[n, L]."""
    valid: Bool
    """Bool[n, L]."""
    so_far: I64
    """Events before the instant, all of them, I64[n]."""

    @classmethod
    def of(
        cls, history: Events, span: NDArray[np.int64], *, at: int, length: int, epoch: int
    ) -> Window:
        """Cut the last `length` events of [start, end) for each row of `span` I64[n, 2].

        Whole seconds count, as on the training device: `epoch` is the UTC us they count from.
        """
        start, end = span[:, 0], span[:, 1]
        so_far = end - start
        width = max(1, min(length, int(so_far.max(initial=0))))
        cell = end[:, None] - np.arange(1, width + 1)
        valid = cell >= start[:, None]
        if not len(history):
            blank = np.zeros(cell.shape, dtype=np.int64)
            return cls(blank, blank, blank.astype(np.float32), valid, so_far)
        cell = np.maximum(cell, 0)
        event = (history.at[cell] - epoch) // SECOND
        seconds = np.maximum((at - epoch) // SECOND - event, 0)
        channel = np.minimum(history.channel[cell], CHANNELS - 1)
        return cls(
            sale=history.sale[cell] * valid.astype(np.int64),
            what=history.kind[cell].astype(np.int64) * CHANNELS + channel,
            days=seconds.astype(np.float32) * np.float32(SECOND / DAY),
            valid=valid,
            so_far=so_far,
        )

    @property
    def last_channel(self) -> I64:
        """Channel of the newest event, I64[n]; 5 = no event."""
        return np.where(self.valid[:, 0], self.what[:, 0] % CHANNELS, CHANNELS)

    def numbers(self, log_price: F32) -> F32:
        """Return what the past says in numbers, F32[n, LATELY], NaN where unknown.

        As `member.past_numbers`; `log_price` F32[S] of all sales.
        """
        price = np.where(self.valid, log_price[self.sale], np.float32(np.nan))
        low, middle, high = _quarters(price)
        since = np.where(self.valid[:, 0], np.log1p(self.days[:, 0]), np.float32(np.nan))
        kind = self.what // CHANNELS
        counts = [((kind == one) & self.valid).sum(axis=1) for one in range(len(Kind))]
        logs = np.log1p(np.stack((self.so_far, *counts), axis=1).astype(np.float32))
        return np.concatenate((np.stack((middle, high - low, since), axis=1), logs), axis=1)


def _quarters(values: F32) -> tuple[F32, F32, F32]:
    """Return the quartiles of each row F32[n, L], NaN unknown, linear between places."""
    known = (~np.isnan(values)).sum(axis=1)
    # NaN comes last, and a place never lies among them
    ordered, rows = np.sort(values, axis=1), np.arange(len(values))
    found = []
    for share in (0.25, 0.5, 0.75):
        place = np.maximum(known - 1, 0).astype(np.float32) * np.float32(share)
        low, high = np.floor(place).astype(np.int64), np.ceil(place).astype(np.int64)
        below, above = ordered[rows, low], ordered[rows, high]
        found.append(below + (place - low.astype(np.float32)) * (above - below))
    return found[0], found[1], found[2]
