"""Slates, slot by slot: the largest gain, or a draw whose chance is known exactly (DECISION 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.domain.arrays import F32, F64, I64, NONE, Bool
from recsys.rerank.diversity import Reranker, ShelfView
from recsys.rerank.utility import Parts

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Offer:
    """What n members may be shown: c sales each, in the order that settles ties."""

    parts: Parts
    eligible: Bool
    """May be shown, Bool[n, c]."""
    sigma: F32
    """Scale of variety and temperature, F32[n, 1]."""
    view: ShelfView
    brand: I64
    """Brand key, I64[1, c] or I64[n, c]."""
    category: I64
    """Category row or NONE, of the same shape."""


@dataclass(frozen=True)
class Picks:
    """What was chosen: n members, N slots."""

    columns: I64
    """Column of the offer, I64[n, N]; NONE where a slate ended."""
    diversity: F32
    """Last part of the gain, F32[n, N]."""
    margin: F32
    """Gain above the best sale left out at that slot, F32[n, N]; inf where none was left."""
    log_propensity: F32
    """F32[n, N]; 0 = certain."""


@dataclass
class _Slate:
    """What changes from slot to slot."""

    state: F32
    free: Bool
    of_brand: I64
    recent: list[I64]


@dataclass(frozen=True)
class SlatePolicy:
    """Softmax-greedy: temperature 0 takes the largest gain, the first column among equals."""

    slots: int
    reranker: Reranker
    temperature: float = 0.0
    max_per_brand: int = 0
    """0 = any number."""
    apart: int = 1
    """Least distance in slots of sales of one category, where the shelf allows it."""

    def act(self, offer: Offer, draws: F64) -> Picks:
        """Fill the slates; `draws` F64[n, N] in [0, 1) decide where temperature > 0."""
        return self._fill(offer, draws, None)

    def log_prob(self, offer: Offer, columns: I64) -> F32:
        """Return the log chance of each slot of given slates, given the slots before, F32[n, N].

        -inf where the policy never picks the column.
        """
        draws = np.zeros(columns.shape, dtype=np.float64)
        return self._fill(offer, draws, columns).log_propensity

    def _fill(self, offer: Offer, draws: F64, forced: I64 | None) -> Picks:
        num = len(offer.eligible)
        utility = offer.parts.utility()
        slate = _Slate(
            state=self.reranker.init(offer.view),
            free=offer.eligible.copy(),
            of_brand=np.zeros(offer.eligible.shape, dtype=np.int64),
            recent=[],
        )
        picks = Picks(
            columns=np.full((num, self.slots), NONE, dtype=np.int64),
            diversity=np.zeros((num, self.slots), dtype=np.float32),
            margin=np.zeros((num, self.slots), dtype=np.float32),
            log_propensity=np.zeros((num, self.slots), dtype=np.float32),
        )
        weight = offer.sigma * np.float32(self.reranker.weight)
        for slot in range(self.slots if offer.eligible.size else 0):
            allowed = self._allowed(offer, slate)
            variety = weight * self.reranker.gains(slate.state)
            gains = np.where(allowed, utility + variety, np.float32(-np.inf))
            column, log_chance = self._pick(gains, offer.sigma, draws[:, slot])
            if forced is not None:
                column = forced[:, slot]
                every = self._log_chance(gains, offer.sigma)
                ended = ~(gains > -np.inf).any(axis=1)
                never = np.where(ended, np.float32(0), np.float32(-np.inf))
                log_chance = np.where(column >= 0, _at(every, column), never)
            picks.columns[:, slot] = column
            picks.log_propensity[:, slot] = log_chance
            picks.diversity[:, slot] = np.where(column >= 0, _at(variety, column), 0)
            if forced is None:
                picks.margin[:, slot] = _margin(gains, column)
            self._advance(offer, slate, column)
        return picks

    def _allowed(self, offer: Offer, slate: _Slate) -> Bool:
        allowed = slate.free
        if self.max_per_brand:
            allowed = allowed & (slate.of_brand < self.max_per_brand)
        if self.apart > 1 and slate.recent:
            spaced = allowed.copy()
            for category in slate.recent:
                spaced &= (offer.category != category[:, None]) | (category[:, None] == NONE)
            # a shelf of one category still fills the slate
            allowed = np.where(spaced.any(axis=1, keepdims=True), spaced, allowed)
        return allowed

    def _log_chance(self, gains: F32, scale: F32) -> F32:
        """Return the log chance of each column, F32[n, c]; -inf where it is never picked."""
        best = gains.max(axis=1, keepdims=True)
        if self.temperature <= 0:
            first = np.arange(gains.shape[1]) == gains.argmax(axis=1)[:, None]
            certain: F32 = np.where(first & (gains > -np.inf), 0, -np.inf).astype(np.float32)
            return certain
        below = np.where(gains > -np.inf, gains - np.where(best > -np.inf, best, 0), -np.inf)
        logits = below.astype(np.float64) / (self.temperature * scale.astype(np.float64))
        total = np.exp(logits).sum(axis=1, keepdims=True)
        return (logits - np.log(np.where(total > 0, total, 1))).astype(np.float32)

    def _pick(self, gains: F32, scale: F32, draw: F64) -> tuple[I64, F32]:
        ended = ~(gains > -np.inf).any(axis=1)
        if self.temperature <= 0:
            column = gains.argmax(axis=1)
            log_chance = np.zeros(len(gains), dtype=np.float32)
        else:
            every = self._log_chance(gains, scale)
            reach = np.exp(every.astype(np.float64)).cumsum(axis=1)
            column = (reach <= draw[:, None] * reach[:, -1:]).sum(axis=1)
            # rounding may step past the last column that has a chance
            last = gains.shape[1] - 1 - (every > -np.inf)[:, ::-1].argmax(axis=1)
            column = np.minimum(column, last)
            log_chance = np.where(ended, np.float32(0), _at(every, column))
        return np.where(ended, NONE, column), log_chance

    def _advance(self, offer: Offer, slate: _Slate, column: I64) -> None:
        rows = np.flatnonzero(column >= 0)
        slate.free[rows, column[rows]] = False
        slate.state = self.reranker.update(slate.state, offer.view, column)
        if self.max_per_brand:
            brand = np.where(column >= 0, _at(offer.brand, column), NONE - 1)
            slate.of_brand += offer.brand == brand[:, None]
        if self.apart > 1:
            category = np.where(column >= 0, _at(offer.category, column), NONE)
            slate.recent = [*slate.recent, category][-(self.apart - 1) :]


def _at(table: NDArray[T], column: I64) -> NDArray[T]:
    """Read one column a row of [n, c] or [1, c]; NONE reads the first."""
    rows = np.arange(len(column)) if len(table) > 1 else np.zeros(len(column), dtype=np.int64)
    return table[rows, np.maximum(column, 0)]


def _margin(gains: F32, column: I64) -> F32:
    rows = np.flatnonzero(column >= 0)
    margin = np.zeros(len(gains), dtype=np.float32)
    others = gains[rows]
    chosen = others[np.arange(len(rows)), column[rows]]
    others[np.arange(len(rows)), column[rows]] = -np.inf
    margin[rows] = chosen - others.max(axis=1, initial=-np.inf)
    return margin
