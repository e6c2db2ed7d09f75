"""What a sale adds to a slate so far: the protocol of re-rankers, and the two simplest of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.domain.arrays import F32, I64
from recsys.domain.spec import NonNegative, Spec

S = TypeVar("S")
"""What a kind of re-ranker keeps of slates so far."""
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class ShelfView:
    """What re-rankers see: the c sales in question for n members, and the members' mixes.

    Arrays F32[n, c] made here lie in memory sale by sale, as the policy reads them fastest; an
    array that lies otherwise is as good.
    """

    unit: F32
    """Length 1: F32[1, c, U] where all members see one shelf, else F32[n, c, U]."""
    num_members: int
    category: I64 | None = None
    """Column of `mix`, I64[1, c] or I64[n, c]; NONE, for a sale of none, reads the last column."""
    mix: F32 | None = None
    """Share of each category in what the member engaged with, F32[n, G + 1]; the last column is 0.
    A member without a past has zeros; categories that are not on the shelf have no column."""

    @property
    def shape(self) -> tuple[int, int]:
        """Members and sales: (n, c)."""
        return self.num_members, int(self.unit.shape[1])

    def full(self, value: float) -> F32:
        """Return one number for each member and sale, F32[n, c]."""
        return np.full(self.shape, value, dtype=np.float32, order="F")

    def likeness(self, chosen: I64) -> F32:
        """Return the cosine of each sale with the chosen column (I64[n], all >= 0), F32[n, c]."""
        if len(self.unit) == 1:
            return np.take(self.kernel, chosen, axis=1).T
        picked = self.unit[np.arange(self.num_members), chosen]
        cosines: F32 = np.einsum("ncu,nu->nc", self.unit, picked)
        return np.asfortranarray(cosines)

    @cached_property
    def kernel(self) -> F32:
        """Cosines of the one shelf all members see, F32[c, c]."""
        # einsum, so that equal vectors have equal rows whatever the size of the shelf
        cosines: F32 = np.einsum("cu,du->cd", self.unit[0], self.unit[0])
        return cosines

    def take(self, rows: I64) -> ShelfView:
        """Return what is seen for some of the members, I64[k]."""
        return replace(
            self,
            unit=self.unit if len(self.unit) == 1 else self.unit[rows],
            num_members=len(rows),
            category=None if self.category is None else rows_of(self.category, rows),
            mix=None if self.mix is None else self.mix[rows],
        )


class Reranker(Protocol[S]):
    """A way to value variety. Its state never depends on the utility, so prices stay monotone."""

    @property
    def weight(self) -> float:
        """How much variety counts, in standard deviations of a member's values; 0 = off."""

    def init(self, view: ShelfView) -> S:
        """Return the state of empty slates: an array F32[n, ...], or what else a kind needs."""

    def gains(self, state: S) -> F32:
        """Return what each sale adds, F32[n, c]: unit-free, larger = adds more."""

    def update(self, state: S, view: ShelfView, chosen: I64) -> S:
        """Return a new state after columns I64[n] were chosen; -1 where a slate has ended."""


class TopK(Spec):
    """The most useful sales, however alike."""

    kind: Literal["topk"] = "topk"

    @property
    def weight(self) -> float:
        """No variety."""
        return 0.0

    def init(self, view: ShelfView) -> F32:
        """Return zeros, F32[n, c]."""
        return view.full(0)

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
        return view.full(-2)

    def gains(self, state: F32) -> F32:
        """Return minus the likeness to the most alike chosen sale; 0 on an empty slate."""
        gains: F32 = -state
        gains[gains > 1.5] = 0
        return gains

    def update(self, state: F32, view: ShelfView, chosen: I64) -> F32:
        """Keep the larger likeness of each sale to what was chosen."""
        likeness = view.likeness(np.maximum(chosen, 0))
        likeness[chosen < 0] = -2
        return np.maximum(state, likeness)


def rows_of(table: NDArray[T], rows: I64) -> NDArray[T]:
    """Return some rows of [n, c]; of [1, c], which all members share, the one."""
    return table if len(table) == 1 else table[rows]
