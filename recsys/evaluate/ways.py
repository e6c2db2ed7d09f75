"""A ranker in, slates of the same requests by several ways to give up value out (DECISION 9).

boost     value times 1 + b for what is new to the member: the novelty dial, which is what is served
slots     the last so many places are kept for what is new, as long as any is left
price     so much more for what is new, whatever its value, in median deviations of value
picks     what an editor's pick multiplies value by
mmr, ...  the weight of variety, by each kind of re-ranker

All but one setting is as published: rules, limits, exploration and prices of promises hold for each
way alike. With slots and price the dial is at 0; nothing serves them, they are here to be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recsys.domain.arrays import F32, F64, I64, NONE
from recsys.domain.requests import Requests
from recsys.domain.shop import Shop
from recsys.domain.slates import PARTS
from recsys.evaluate.pareto import Placed, Setting
from recsys.rerank.asking import Asked
from recsys.rerank.calibrated import Calibrated
from recsys.rerank.dial import dial_for_all
from recsys.rerank.diversity import Mmr, TopK
from recsys.rerank.dpp import Dpp
from recsys.rerank.novelty import is_new, newness
from recsys.rerank.offer import Offer
from recsys.rerank.policy import SlatePolicy
from recsys.rerank.ranker import Ranker, draws_of
from recsys.rerank.spec import plan_of
from recsys.rerank.ssd import Ssd

DIALS = (0.35, 0.7, 1.4, 2.8)
"""Settings of the novelty dial beside 0 (DECISION 8)."""
RESERVED = (1 / 6, 1 / 3, 1 / 2)
"""Shares of a slate's places that are kept for what is new."""
PRICES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Of what is new, in median deviations of value over a member's shelf."""
PICKS = (1.0, 1.25, 1.5, 2.0, 4.0)
"""What an editor's pick multiplies value by."""
WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Of a kind of re-ranker, in its default weight."""
VARIETIES = (Mmr(), Dpp(), Ssd(), Calibrated())
"""Kinds of re-rankers; an installed one that is published stands beside them."""
APPEAL, FLOOR = PARTS.index("appeal"), PARTS.index("floor")
_APART = np.float32(64)
"""Spreads of a member's gains between two places whose order is given."""
Tried = Iterator[tuple[Setting, Placed]]


@dataclass(frozen=True)
class Table:
    """What n members may be shown, and how it is picked: c sales, N places."""

    asked: Asked
    offer: Offer
    policy: SlatePolicy
    draws: F64

    def picked(self) -> I64:
        """Return columns of the offer, I64[n, N]; NONE where a slate ended."""
        return self.policy.columns(self.offer, self.draws)

    def shown(self, columns: I64) -> Placed:
        """Return what columns I64[n, N] of the offer are."""
        row, place = np.nonzero(columns != NONE)
        column, of_all = columns[row, place], self.asked.question.sales
        sales, appeal = np.full_like(columns, NONE), np.zeros(columns.shape, dtype=np.float32)
        sales[row, place] = of_all[np.minimum(row, len(of_all) - 1), column]
        appeal[row, place] = self.offer.parts.amounts[APPEAL, row, column]
        return Placed(sales, appeal)

    def raised(self, amount: F32) -> Table:
        """Return the same with a price F32[n, c] on each sale."""
        amounts = self.offer.parts.amounts.copy()
        amounts[FLOOR] += amount
        return replace(
            self, offer=replace(self.offer, parts=replace(self.offer.parts, amounts=amounts))
        )

    def with_variety(self, variety: Any) -> Table:
        """Return the same with another re-ranker."""
        return replace(self, policy=replace(self.policy, reranker=variety))

    def reserved(self, first: I64, slots: int) -> I64:
        """Return slates I64[n, N] whose last `slots` places are kept for what is new to the member.

        `first` I64[n, N] are the slates without that, whose other places stay. Where nothing new
        may be shown any more, what comes next has the place.
        """
        new = is_new(self.asked.question.days_known)
        steps = np.where(new, np.float32(0), np.float32(-1))
        row, place = np.nonzero(first[:, : first.shape[1] - slots] != NONE)
        steps[row, first[row, place]] = first.shape[1] - place
        largest = np.abs(self.offer.parts.utility()).max(axis=1, initial=0, keepdims=True)
        weight = np.float32(1 + self.policy.reranker.weight)
        return self.raised(steps * (largest + weight * self.offer.sigma) * _APART).picked()


@dataclass(frozen=True)
class Ways:
    """Tries a ranker's slates by the dial and by fixed places, or by every way."""

    ranker: Ranker
    every: bool = False
    """By price, by editors' picks and by variety too."""

    def shown(
        self, shop: Shop, requests: Requests, rows: slice, /, *, taste: F32, unit: F32
    ) -> Tried:
        """Yield the slates of each setting; those without novelty are the first."""

        def table(ranker: Ranker) -> Table:
            asked, offer = ranker.offered(shop, requests, rows, taste=taste, unit=unit)
            draws = draws_of(requests, rows, ranker.policy.num_draws)
            return Table(asked, offer, ranker.policy, draws)

        without = table(self.ranker.with_novelty(0.0))
        bare = without.picked()
        now = dial_for_all(plan_of(self.ranker.spec))
        yield Setting("boost", 0.0, published=now == 0), without.shown(bare)
        for dial in sorted({*DIALS, *([] if now is None else [now])} - {0.0}):
            at = table(self.ranker.with_novelty(dial))
            yield Setting("boost", dial, published=dial == now), at.shown(at.picked())
        yield from self._slots(without, bare)
        if self.every:
            yield from self._prices(without)
            yield from self._picks(table)
            yield from self._varieties(table(self.ranker), dim=unit.shape[1])

    def _slots(self, without: Table, bare: I64) -> Tried:
        yield Setting("slots", 0.0), without.shown(bare)
        num = bare.shape[1]
        for slots in sorted({max(round(share * num), 1) for share in RESERVED}):
            yield Setting("slots", float(slots)), without.shown(without.reserved(bare, slots))

    def _prices(self, without: Table) -> Tried:
        plan = plan_of(self.ranker.spec)
        new = newness(
            without.asked.question.days_known,
            soft=plan.newness == "soft",
            half_life_days=plan.half_life_days,
        )
        for price in (0.0, *PRICES):
            at = without.raised(np.float32(price * self.ranker.median_deviation) * new)
            yield Setting("price", price), at.shown(at.picked())

    def _picks(self, table: Callable[[Ranker], Table]) -> Tried:
        plan = plan_of(self.ranker.spec)
        for boost in sorted({*PICKS, plan.curated_boost}):
            spec = plan.model_copy(update={"curated_boost": boost})
            at = table(replace(self.ranker, spec=spec))
            published = boost == plan.curated_boost
            yield Setting("picks", boost, published=published), at.shown(at.picked())

    def _varieties(self, served: Table, *, dim: int) -> Tried:
        plan = plan_of(self.ranker.spec)
        now: Any = plan.diversity
        own = {} if isinstance(now, TopK) else {now.kind: now}
        for kind, variety in ({one.kind: one for one in VARIETIES} | own).items():
            if isinstance(variety, Dpp) and plan.slots > dim:
                continue
            usual = type(variety)().weight
            extra = {variety.weight} if kind in own else set()
            for weight in sorted({share * usual for share in WEIGHTS} | extra):
                at = served.with_variety(variety.model_copy(update={"weight": weight}))
                same = weight == now.weight and (kind in own or isinstance(now, TopK))
                yield Setting(kind, weight, published=same), at.shown(at.picked())
