"""What turns away from the last few sales: sliding spectrum decomposition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from recsys.domain.arrays import F32, I64
from recsys.domain.spec import Count, NonNegative, Spec
from recsys.rerank.diversity import ShelfView

SPANNED = np.float32(1e-5)
"""Least squared length that a direction is made of: what is shorter is rounding."""


@dataclass(frozen=True)
class Window:
    """The directions of the last chosen sales, at right angles to each other."""

    rows: tuple[F32, ...]
    """How far each sale goes along each direction, F32[n, c], oldest first."""
    left: F32
    """Squared length of each sale beside all of them, F32[n, c] in [0, 1]."""


class Ssd(Spec):
    """What points elsewhere than the last few sales together (Huang et al. 2021, SSD*)."""

    kind: Literal["ssd"] = "ssd"
    weight: NonNegative = 0.25
    """Price of lying wholly in the span of the last sales, in standard deviations of the member's
    values."""
    window: Count = 8
    """Sales that a sale is held against: those of the last so many slots."""

    def init(self, view: ShelfView) -> Window:
        """Return no direction."""
        return Window((), view.full(1))

    def gains(self, state: Window) -> F32:
        """Return the length beside the window, less 1, F32[n, c]: 0 on an empty slate, to -1."""
        return np.sqrt(state.left) - np.float32(1)

    def update(self, state: Window, view: ShelfView, chosen: I64) -> Window:
        """Add the direction of the chosen sale, and forget the oldest where the window is full."""
        at = np.arange(len(chosen)), np.maximum(chosen, 0)
        row = view.likeness(at[1])
        for earlier in state.rows:
            row -= earlier[at][:, None] * earlier
        own = np.maximum(state.left[at], SPANNED)
        row *= np.where(chosen >= 0, 1 / np.sqrt(own), np.float32(0))[:, None]
        left = state.left - row * row
        if len(state.rows) == self.window:
            left += state.rows[0] ** 2 * (chosen >= 0)[:, None]
        return Window((*state.rows, row)[-self.window :], np.maximum(left, 0))
