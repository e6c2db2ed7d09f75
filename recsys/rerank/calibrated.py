"""A slate whose categories are mixed as the member's own past is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from recsys.domain.arrays import F32, I64, NONE
from recsys.domain.spec import NonNegative, Spec
from recsys.rerank.diversity import ShelfView
from recsys.rerank.utility import ordered_sum

ALPHA = np.float32(0.01)
"""Share of the member's own mix in the mix that a slate is taken to have: no category has none."""


@dataclass(frozen=True)
class Tally:
    """What members want and what their slates have, by category."""

    category: I64
    """Column of the others for each sale, I64[1, c] or I64[n, c]; NONE reads the last."""
    mix: F32
    """Wanted shares, F32[n, G + 1]; the last column is 0."""
    count: F32
    """Sales chosen so far, F32[n, G + 1]."""


class Calibrated(Spec):
    """Categories in the proportions of the member's own past (Steck 2018)."""

    kind: Literal["calibrated"] = "calibrated"
    weight: NonNegative = 0.43
    """Worth of coming nearer to the member's mix by a divergence of 1, in standard deviations of
    the member's values. 0.43 is the literature's lambda of 0.3: lambda / (1 - lambda)."""

    def init(self, view: ShelfView) -> Tally:
        """Return empty slates beside the members' mixes; no mix, no pull."""
        if view.category is None or view.mix is None:
            nothing = np.zeros((view.num_members, 1), dtype=np.float32)
            return Tally(np.full((1, view.shape[1]), NONE), nothing, nothing)
        mix = np.asfortranarray(view.mix)
        return Tally(view.category, mix, np.zeros_like(mix))

    def gains(self, state: Tally) -> F32:
        """Return by how much each sale lowers KL(p, (1 - alpha) q + alpha p), F32[n, c].

        p is the member's mix, q the slate's; of an empty slate q is 0. Categories that the shelf
        lacks cost the same before and after.
        """
        p, count = state.mix, state.count
        shown = count.sum(axis=1, keepdims=True)
        without, taken = _log(p, count / (shown + 1)), _log(p, (count + 1) / (shown + 1))
        before = _log(p, count / np.maximum(shown, 1))
        # added one after the other: a member's sum does not depend on who is asked beside them
        diluted = ordered_sum((p * (without - before)).T)
        pull = p * (taken - without) + diluted[:, None]
        if len(state.category) == 1:
            pulls: F32 = pull.T[state.category[0]]
            return pulls.T
        return np.take_along_axis(pull, state.category, axis=1)

    def update(self, state: Tally, view: ShelfView, chosen: I64) -> Tally:
        """Count the category of what was chosen."""
        rows = np.flatnonzero(chosen >= 0)
        count = state.count.copy(order="K")
        count[rows, np.broadcast_to(state.category, view.shape)[rows, chosen[rows]]] += 1
        return replace(state, count=count)


def _log(p: F32, q: F32) -> F32:
    """Return log((1 - alpha) q + alpha p), finite where both are 0."""
    mixed = (1 - ALPHA) * q + ALPHA * p
    return np.log(np.maximum(mixed, np.finfo(np.float32).tiny))


def own_mix(row: I64, category: I64, *, on_shelf: I64, num: int) -> tuple[I64, F32]:
    """Return a view's `category` and `mix` of `num` members.

    `row` I64[e] says whose each of e past engagements is and `category` I64[e] with which category,
    or NONE; `on_shelf` I64[1, c] or I64[n, c] is that of each sale in question.
    """
    keys = np.unique(on_shelf[on_shelf != NONE])
    width = len(keys) + 1
    # NONE reads the end of it, which is the place of all that is not on the shelf
    place = np.full(max(category.max(initial=NONE), on_shelf.max(initial=NONE)) + 2, width - 1)
    place[keys] = np.arange(len(keys))
    counts = np.bincount(row * width + place[category], minlength=num * width).reshape(num, width)
    counts[:, -1] = 0
    past = np.bincount(row[category != NONE], minlength=num)
    mix = (counts / np.maximum(past, 1)[:, None]).astype(np.float32)
    return np.where(on_shelf == NONE, NONE, place[on_shelf]), mix
