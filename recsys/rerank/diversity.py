"""What a sale adds to a slate so far: the protocol of re-rankers, and the two of version one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np

from recsys.domain.arrays import F32, I64
from recsys.domain.spec import NonNegative, Spec


@dataclass(frozen=True)
class ShelfView:
    """The vectors of the c sales in question for n members."""

    unit: F32
    """Length 1: F32[1, c, U] where all members see one shelf, else F32[n, c, U]."""
    num_members: int

    @property
    def shape(self) -> tuple[int, int]:
        """Members and sales: (n, c)."""
        return self.num_members, int(self.unit.shape[1])

    def likeness(self, chosen: I64) -> F32:
        """Return the cosine of each sale with the chosen column (I64[n], all >= 0), F32[n, c]."""
        if len(self.unit) == 1:
            return self.kernel[chosen]
        picked = self.unit[np.arange(self.num_members), chosen]
        cosines: F32 = np.einsum("ncu,nu->nc", self.unit, picked)
        return cosines

    @cached_property
    def kernel(self) -> F32:
        """Cosines of the one shelf all members see, F32[c, c]."""
        # einsum, so that equal vectors have equal rows whatever the size of the shelf
        cosines: F32 = np.einsum("cu,du->cd", self.unit[0], self.unit[0])
        return cosines


class Reranker(Protocol):
    """A way to value variety. Its state never depends on the utility, so prices stay monotone."""

    @property
    def weight(self) -> float:
        """How much variety counts, in standard deviations of a member's values; 0 = off."""

    def init(self, view: ShelfView) -> F32:
        """Return the state of empty slates, F32[n, ...]."""

    def gains(self, state: F32) -> F32:
        """Return what each sale adds, F32[n, c]: unit-free, larger = adds more."""

    def update(self, state: F32, view: ShelfView, chosen: I64) -> F32:
        """Return the state after columns I64[n] were chosen; -1 where a slate has ended."""


class TopK(Spec):
    """The most useful sales, however alike."""

    kind: Literal["topk"] = "topk"

    @property
    def weight(self) -> float:
        """No variety."""
        return 0.0

    def init(self, view: ShelfView) -> F32:
        """Return zeros, F32[n, c]."""
        return np.zeros(view.shape, dtype=np.float32)

    def gains(self, state: F32) -> F32:
        """Return zeros, F32[n, c]."""
        return state

    def update(self, state: F32, view: ShelfView, chosen: I64) -> F32:  # ruff: ignore[unused-method-argument]  # the protocol's
        """Return the state as it was."""
        return state


class Mmr(Spec):
    """Less of what is like a sale already on the slate (Carbonell and Goldstein 1998)."""

    kind: Literal["mmr"] = "mmr"
    weight: NonNegative = 0.25
    """Price of likeness 1 to a chosen sale, in standard deviations of the member's values.
    0.25 is the literature's lambda of 0.8: (1 - lambda) / lambda."""

    def init(self, view: ShelfView) -> F32:
        """Return likeness to nothing, F32[n, c]: NaN-free marks below every cosine."""
        return np.full(view.shape, -2, dtype=np.float32)

    def gains(self, state: F32) -> F32:
        """Return minus the likeness to the most alike chosen sale; 0 on an empty slate."""
        gains: F32 = np.where(state < -1.5, np.float32(0), -state)
        return gains

    def update(self, state: F32, view: ShelfView, chosen: I64) -> F32:
        """Keep the larger likeness of each sale to what was chosen."""
        nearer = np.maximum(state, view.likeness(np.maximum(chosen, 0)))
        updated: F32 = np.where(chosen[:, None] >= 0, nearer, state)
        return updated
