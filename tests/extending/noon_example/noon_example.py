"""A re-ranker, a loss and an encoder of one's own, for recsys."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from recsys.domain.arrays import F32, I64
from recsys.domain.spec import Count, NonNegative, Spec
from recsys.rerank.diversity import ShelfView

if TYPE_CHECKING:  # torch is loaded where towers are built, not where settings are read
    from torch import Tensor, nn

    from recsys.towers.columns import Layout
    from recsys.towers.noise import Noise


class MaxSum(Spec):
    """Less of what is like the chosen sales taken together (Borodin et al. 2012)."""

    kind: Literal["max_sum"] = "max_sum"
    weight: NonNegative = 0.1
    """Price of likeness 1 to each chosen sale, in standard deviations of the member's values."""

    def init(self, view: ShelfView) -> F32:
        """Return likeness to an empty slate: zeros, F32[n, c]."""
        return view.full(0)

    def gains(self, state: F32) -> F32:
        """Return minus the likeness to all that was chosen, F32[n, c]."""
        return -state

    def update(self, state: F32, view: ShelfView, chosen: I64) -> F32:
        """Add the likeness to what was chosen; a slate that has ended stays as it is."""
        more = view.likeness(np.maximum(chosen, 0))
        updated: F32 = np.where(chosen[:, None] >= 0, state + more, state)
        return updated


class Stride(Spec):
    """Softmax over sales at equal steps along the shelf, from a start that is drawn (Madow 1944).

    No sale is drawn twice, so fewer columns say as much as uniform draws.
    """

    kind: Literal["stride"] = "stride"
    draws: Count = 256
    """Sales drawn from the shelf for each decision time of a step, at most."""

    def width(self, length: I64) -> I64:
        """Return the columns of shelves of `length` sales, I64[G]."""
        return np.minimum(length, self.draws)

    def places(self, layout: Layout, noise: Noise) -> Tensor:
        """Return the places that are taken, int64 [C]: one draw a decision time, then steps."""
        length, group = layout.length[layout.slot], layout.group[layout.slot]
        start = noise.below(length, 77, group)
        return (start + layout.within * length // length.clamp(max=self.draws)) % length

    def log_q(self, layout: Layout) -> Tensor:
        """Return log(draws / length) of each column, float32 [C]: all places are as likely."""
        length = layout.length[layout.slot]
        return (length.clamp(max=self.draws) / length).log()


class Recurrent(Spec):
    """The pooled means, plus what a recurrent cell makes of the newest events."""

    kind: Literal["recurrent"] = "recurrent"
    newest: Count = 8
    """Events that the cell reads, oldest first, of those that the tower looks back on."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Chance that training hides a coordinate of what the cell knows at the end."""

    def module(self, *, dim: int, history: int) -> nn.Module:
        """Return the module for vectors of width `dim`."""
        newest = min(self.newest, history)
        made: nn.Module = import_module("noon_gru").Gru(
            dim=dim, newest=newest, dropout=self.dropout
        )
        return made
