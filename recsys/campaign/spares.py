"""What could take a place on slates that were made, with what each would be worth there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.campaign.audience import Audience
from recsys.campaign.deciding import made_for
from recsys.campaign.swaps import Spare
from recsys.domain.arrays import F32, I64, NONE
from recsys.domain.slates import PARTS
from recsys.rerank.novelty import newness
from recsys.rerank.ranker import Made, Ranker
from recsys.rerank.spec import plan_of


@dataclass(frozen=True)
class Spares:
    """Spare sales of m members, k each."""

    spare: Spare
    new: F32
    """How new each is to the member, F32[m, k]."""

    def new_of(self, row: I64, sale: I64) -> F32:
        """Return how new the spare sale rows I64[t] of some members I64[t] are, F32[t]."""
        column = (self.spare.sales[row] == sale[:, None]).argmax(axis=1)
        found: F32 = self.new[row, column]
        return found


def spares(ranker: Ranker, audience: Audience) -> Spares:
    """Return what could take a place on the own slates of an audience of m members.

    Variety is counted beside all of the slate. A member who likes little that is new has no spare
    sale that is. Memory grows with the members: a kilobyte each before a shelf of 40 sales.
    """
    chunks = [
        _spare(ranker, made)
        for _, made in made_for(ranker, audience, np.arange(len(audience.members)))
    ]
    sales, parts, new = (_joined([chunk[part] for chunk in chunks]) for part in range(3))
    shelf = audience.shop.shelf(audience.at)
    brand = ranker.desk(audience.shop).brand[shelf.sales]
    most = plan_of(ranker.spec).max_per_brand
    return Spares(Spare(sales, parts, brand=brand, max_per_brand=most), new)


def _spare(ranker: Ranker, made: Made) -> tuple[I64, F32, F32]:
    """Return spare sales, their parts and how new they are, of the members of one chunk."""
    offer, columns, question = made.offer, made.picks.columns, made.asked.question
    plan = plan_of(ranker.spec)
    open_still = offer.eligible.copy()
    row, slot = np.nonzero(columns != NONE)
    open_still[row, columns[row, slot]] = False
    if offer.fresh is not None and offer.most_fresh is not None:
        few = offer.most_fresh < np.iinfo(offer.most_fresh.dtype).max
        open_still &= ~(offer.fresh & few[:, None])
    parts = np.zeros((*open_still.shape, len(PARTS)), dtype=np.float32)
    parts[..., :-1] = np.moveaxis(offer.parts.amounts, 0, -1)
    parts[..., -1] = _variety(ranker, made)
    new = newness(
        question.days_known, soft=plan.newness == "soft", half_life_days=plan.half_life_days
    )
    return np.where(open_still, question.sales, NONE), parts, new


def _variety(ranker: Ranker, made: Made) -> F32:
    """Return what each sale would add to a slate that holds all of its sales, F32[n, c]."""
    reranker = ranker.policy.reranker
    if not reranker.weight:
        return np.zeros((1, 1), dtype=np.float32)
    state = reranker.init(made.offer.view)
    for column in made.picks.columns.T:
        state = reranker.update(state, made.offer.view, column)
    gains: F32 = reranker.gains(state) * made.offer.sigma * np.float32(reranker.weight)
    return gains


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if len(parts) > 1 else parts[0]
