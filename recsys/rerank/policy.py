"""Slates, slot by slot: the largest gain, or a draw whose chance is known exactly (DECISION 5)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.domain.arrays import F32, F64, I16, I32, I64, NONE, Bool
from recsys.rerank.dial import GRID, blended, drawn
from recsys.rerank.diversity import Reranker
from recsys.rerank.offer import Offer, Picks, Pin, pins_of
from recsys.rerank.spec import Blend, Spaced

T = TypeVar("T", bound=np.generic)


@dataclass
class _Slates:
    """What changes from slot to slot.

    Arrays [c, n] lie sale by sale: a maximum over sales is then c passes over whole rows.
    """

    worth: F32
    """Utility, F32[c, n]; -inf where a sale may not be shown, or not any more."""
    variety: F32
    """What variety adds at this slot, F32[c, n]."""
    gains: F32
    """The sum of both, F32[c, n]."""
    state: Any
    """The re-ranker's."""
    from_last: I64
    """c to 1, the number of each sale counted from the last, [c, 1] in as few bits as hold it."""
    brand: I32
    """I32[c, 1] or I32[c, n]."""
    of_brand: I16
    """Sales of each sale's brand so far, I16[c, n]."""
    category: I32
    """I32[c, 1] or I32[c, n]; NONE where unknown."""
    recent: list[I32]
    """Categories of the last slots, I32[n] each."""
    pins: dict[int, Pin]
    """By slot."""
    fresh: Bool
    """`Offer.fresh` sale by sale, Bool[c, n]; empty where no slate has a limit."""
    fresh_left: I16
    """How many of them each slate may still have, I16[n] or empty."""


@dataclass(frozen=True)
class SlatePolicy:
    """Softmax-greedy: temperature 0 takes the largest gain, the first column among equals."""

    slots: int
    reranker: Reranker[Any]
    temperature: float = 0.0
    max_per_brand: int = 0
    """0 = any number."""
    apart: int = 1
    """Least distance in slots of sales of one category, where the shelf allows it."""
    explore_share: float = 0.0
    """Chance that a member's `explore_slot` is drawn from the pool, each sale alike."""
    explore_slot: int = -1
    """Counted from 0; -1 = the last."""
    dial_share: float = 0.0
    """Chance that the novelty dial of a slate is drawn from GRID, each of it alike."""

    @classmethod
    def of(cls, plan: Blend | Spaced) -> SlatePolicy:
        """Return what fills slates of these settings."""
        return cls(
            slots=plan.slots,
            reranker=plan.diversity,
            temperature=plan.temperature,
            max_per_brand=plan.max_per_brand,
            apart=plan.apart if isinstance(plan, Spaced) else 1,
            explore_share=plan.explore_share,
            dial_share=plan.novelty_drawn,
        )

    @property
    def num_draws(self) -> int:
        """Count the numbers a slate is drawn with.

        One a slot, two where some explore, and a last one where dials are drawn.
        """
        return self.slots + 2 * (self.explore_share > 0) + (self.dial_share > 0)

    def act(self, offer: Offer, draws: F64) -> Picks:
        """Fill the slates with `draws` F64[n, num_draws] in [0, 1)."""
        picks = self._fill(self._dialled(offer, draws), draws, None)
        if self.dial_share <= 0:
            return picks
        by_dial = self._by_dial(offer, picks.columns)
        return replace(picks, log_propensity=blended(by_dial, self.dial_share), by_dial=by_dial)

    def columns(self, offer: Offer, draws: F64) -> I64:
        """Return the columns that `act` picks, I64[n, N], without their chances."""
        return self._fill(self._dialled(offer, draws), draws, None).columns

    def log_prob(self, offer: Offer, columns: I64) -> F32:
        """Return the log chance of each slot of given slates, given the slots before, F32[n, N].

        -inf where the policy never picks the column.
        """
        if self.dial_share > 0:
            return blended(self._by_dial(offer, columns), self.dial_share)
        return self._chance(offer, columns)

    def _chance(self, offer: Offer, columns: I64) -> F32:
        draws = np.zeros((len(columns), self.num_draws), dtype=np.float64)
        return self._fill(offer, draws, columns).log_propensity

    def _dialled(self, offer: Offer, draws: F64) -> Offer:
        if self.dial_share <= 0 or offer.dial is None:
            return offer
        return offer.at(drawn(offer.dial, draws[:, -1], self.dial_share))

    def _by_dial(self, offer: Offer, columns: I64) -> F32:
        """Return log chances with the dial as it stands, then at each of GRID, F32[n, N, 1 + K]."""
        num = len(columns)
        moved = [offer, *(offer.at(np.full(num, dial, np.float32)) for dial in GRID)]
        return np.stack([self._chance(one, columns) for one in moved], axis=2)

    def _fill(self, offer: Offer, draws: F64, forced: I64 | None) -> Picks:
        num = len(offer.eligible)
        diversity, margin, log_propensity = np.zeros((3, self.slots, num), dtype=np.float32)
        columns = np.full((self.slots, num), NONE, dtype=np.int64)
        explored = np.zeros((self.slots, num), dtype=np.bool_)
        picks = Picks(columns.T, diversity.T, margin.T, log_propensity.T, explored.T, offer.dial)
        if not offer.eligible.size:
            return picks
        slates, member = self._empty(offer), np.arange(num)
        sigma = offer.sigma[:, 0]
        for slot in range(self.slots):
            if slot:
                self._advance(offer, slates, columns[slot - 1], pinned=slates.pins.get(slot - 1))
            self._weigh(slates, sigma * np.float32(self.reranker.weight), slates.pins.get(slot))
            given = None if forced is None else forced[:, slot]
            columns[slot], log_propensity[slot] = self._pick(
                slates, sigma, draw=draws[:, slot], given=given
            )
            if self.explore_share > 0 and slot == self.explore_slot % self.slots:
                columns[slot], log_propensity[slot], explored[slot] = self._explore(
                    slates, offer, draws, greedy=columns[slot], given=given
                )
            cell, filled = (np.maximum(columns[slot], 0), member), columns[slot] >= 0
            np.copyto(diversity[slot], slates.variety[cell], where=filled)
            if forced is None:
                gain, slates.gains[cell] = slates.gains[cell], -np.inf
                np.subtract(gain, slates.gains.max(axis=0), out=margin[slot], where=filled)
        return picks

    def _empty(self, offer: Offer) -> _Slates:
        utility = offer.parts.utility()
        utility[~offer.eligible] = -np.inf
        worth = np.ascontiguousarray(utility.T)
        width = len(worth)
        of_brand = np.zeros(worth.shape if self.max_per_brand else (0, 0), dtype=np.int16)
        brand = np.asarray(offer.brand.T, dtype=np.int32, order="C")
        pins = pins_of(offer, worth)
        for pin in pins.values():
            # kept for its slot, and counted from the first
            worth[pin.column, pin.rows] = -np.inf
            if self.max_per_brand:
                self._count(of_brand, worth, brand, column=pin.of_all(len(offer.eligible)))
        fresh, left = np.zeros((width, 0), np.bool_), np.zeros(0, np.int16)
        if offer.fresh is not None and offer.most_fresh is not None:
            fresh, left = offer.fresh.T, offer.most_fresh
        from_last = np.arange(width, 0, -1).astype(np.min_scalar_type(-width - 1))
        return _Slates(
            worth=worth,
            variety=np.zeros_like(worth),
            gains=np.empty_like(worth),
            state=self.reranker.init(offer.view),
            from_last=from_last[:, None],
            brand=brand,
            of_brand=of_brand,
            category=np.asarray(offer.category.T, dtype=np.int32, order="C"),
            recent=[],
            pins=pins,
            fresh=fresh,
            fresh_left=left,
        )

    def _weigh(self, slates: _Slates, weight: F32, pin: Pin | None) -> None:
        """Put into `slates` what each sale would add at this slot: a pin leaves no other."""
        if self.reranker.weight > 0:
            np.multiply(self.reranker.gains(slates.state).T, weight, out=slates.variety)
        np.add(slates.worth, slates.variety, out=slates.gains)
        enough = np.flatnonzero(slates.fresh_left <= 0)
        if len(enough):
            slates.gains[:, enough] = _rather(slates.gains[:, enough], slates.fresh[:, enough])
        if slates.recent:
            near = np.zeros(slates.gains.shape, dtype=np.bool_)
            for category in slates.recent:
                near |= slates.category == category
            slates.gains = _rather(slates.gains, near)
        if pin is not None:
            slates.gains[:, pin.rows] = -np.inf
            kept = pin.worth + slates.variety[pin.column, pin.rows]
            slates.gains[pin.column, pin.rows] = kept

    def _pick(
        self, slates: _Slates, sigma: F32, *, draw: F64, given: I64 | None
    ) -> tuple[I64, F64 | float]:
        """Return a column for each slate, the `given` one if there is one, and its log chance."""
        gains = slates.gains
        best = gains.max(axis=0)
        some = best > -np.inf
        if self.temperature <= 0:
            # argmax along this axis would copy all of it
            first = len(gains) - ((gains == best) * slates.from_last).max(axis=0).astype(np.int64)
            first = np.where(some, first, NONE)
            return (first, 0.0) if given is None else (given, np.where(given == first, 0, -np.inf))
        odds = (gains - np.where(some, best, np.float32(0))).astype(np.float64)
        odds /= self.temperature * sigma.astype(np.float64)
        reach = np.exp(odds).cumsum(axis=0)
        column = np.where(some, _drawn(reach, draw), NONE) if given is None else given
        log_chance = _at(odds, column) - np.log(np.where(some, reach[-1], 1))
        # a slate ends where nothing is left, and nowhere else
        log_chance[(column < 0) == some] = -np.inf
        log_chance[(column < 0) & ~some] = 0
        return column, log_chance

    def _explore(
        self, slates: _Slates, offer: Offer, draws: F64, *, greedy: I64, given: I64 | None
    ) -> tuple[I64, F64, Bool]:
        """Give explorers a sale of the pool; the chance of a sale is that over all members alike.

        Returns columns, log chances and who explored. An empty pool leaves the greedy pick.
        """
        open_still = slates.gains > -np.inf
        pool = open_still & (True if offer.pool is None else offer.pool.T)
        size = pool.sum(axis=0)
        explores = (draws[:, self.slots] < self.explore_share) & (size > 0)
        place = (draws[:, self.slots + 1] * size).astype(np.int64)
        drawn = (pool.cumsum(axis=0) <= place).sum(axis=0)
        column = np.where(explores, drawn, greedy) if given is None else given
        sigma, nothing = offer.sigma[:, 0], np.zeros(len(column))
        log_greedy = self._pick(slates, sigma, draw=nothing, given=column)[1]
        inside = _at(pool, column) & (column >= 0)
        uniform = np.where(inside, 1 / np.maximum(size, 1), 0.0)
        share = np.where(size > 0, self.explore_share, 0.0)
        with np.errstate(divide="ignore"):
            log_chance = np.log((1 - share) * np.exp(log_greedy) + share * uniform)
        return column, log_chance, explores & (given is None)

    def _advance(self, offer: Offer, slates: _Slates, column: I64, *, pinned: Pin | None) -> None:
        """Put the picks of the slot before into `slates`."""
        rows = np.flatnonzero(column >= 0)
        slates.worth[column[rows], rows] = -np.inf
        if self.reranker.weight > 0:
            slates.state = self.reranker.update(slates.state, offer.view, column)
        chosen = column.copy()
        if pinned is not None:
            chosen[pinned.rows] = NONE
        if self.max_per_brand:
            self._count(slates.of_brand, slates.worth, slates.brand, column=chosen)
        if len(slates.fresh_left):
            slates.fresh_left = slates.fresh_left - (_at(slates.fresh, chosen) & (chosen >= 0))
        if self.apart > 1:
            category = np.where(column >= 0, _at(slates.category, column), NONE)
            slates.recent.append(np.where(category == NONE, NONE - 1, category))
            del slates.recent[: 1 - self.apart]

    def _count(self, of_brand: I16, worth: F32, brand: I32, *, column: I64) -> None:
        """Count the brand of a column I64[n]; a brand that has its number is shown no more."""
        of_brand += brand == np.where(column >= 0, _at(brand, column), NONE - 1)
        worth[of_brand >= self.max_per_brand] = -np.inf


def _rather(gains: F32, avoided: Bool) -> F32:
    """Take what is avoided out of gains [c, n], but where nothing else is left to fill the slot."""
    others: F32 = np.where(avoided, np.float32(-np.inf), gains)
    return np.where(others.max(axis=0) > -np.inf, others, gains)


def _at(table: NDArray[T], column: I64) -> NDArray[T]:
    """Read one column a slate of [c, n] or [c, 1]; NONE reads the first."""
    rows = np.arange(len(column)) if table.shape[1] > 1 else 0
    found: NDArray[T] = table[np.maximum(column, 0), rows]
    return found


def _drawn(reach: F64, draw: F64) -> I64:
    """Return the first row whose running sum is above the draw's share of the whole, I64[n]."""
    # a double below 1 times the whole is below the whole: no draw steps past the last row
    found: I64 = (reach <= draw * reach[-1]).sum(axis=0)
    return found
