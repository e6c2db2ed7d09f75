"""What is known of members and sales in, the offer that slates are picked from out."""

from __future__ import annotations

import numpy as np

from recsys.domain.arrays import F32, I16, I64, NONE, Bool
from recsys.rerank.asking import Asked
from recsys.rerank.calibrated import own_mix
from recsys.rerank.dial import dial_of
from recsys.rerank.diversity import ShelfView
from recsys.rerank.fatigue import tired
from recsys.rerank.house import Terms
from recsys.rerank.novelty import is_new, newness
from recsys.rerank.offer import Offer
from recsys.rerank.signals import NAMES
from recsys.rerank.spec import Blend, Spaced
from recsys.rerank.utility import parts, sigma
from recsys.rerank.worth import by_price

KNOWN = NAMES.index("popularity")
_ANY = np.iinfo(np.int16).max


def offer_of(
    asked: Asked, plan: Blend | Spaced, value: F32, *, unit: F32, median: float, terms: Terms
) -> Offer:
    """Put together the parts of utility and all that bounds the choice; bans came before.

    `value` F32[n, c] is the chance of a purchase of the sales in question, `unit` F32[s, U] of the
    shelf; `median` is that of the deviations of value in the audience.
    """
    question, columns, orders = asked.question, asked.columns, terms.orders
    desk, num = question.desk, len(value)
    if plan.worth == "price":
        value = value * by_price(desk, question.sales)
    picked = np.where(question.curated, np.float32(plan.curated_boost), np.float32(1))
    new = newness(
        question.days_known, soft=plan.newness == "soft", half_life_days=plan.half_life_days
    )
    dial = dial_of(question, plan)
    category, mix = own_mix(
        question.trail.row,
        desk.category[question.trail.sale],
        on_shelf=desk.category[question.sales],
        num=num,
    )
    return Offer(
        parts=parts(
            value,
            new,
            fatigue=tired(question, plan.fatigue),
            boost=picked * orders.factor[columns],
            novelty=dial,
            promised=terms.promised(question.requests.member[question.rows], columns),
        ),
        eligible=asked.eligible,
        sigma=sigma(value, asked.eligible, median=median),
        view=ShelfView(unit[columns], num, category, mix),
        dial=dial,
        brand=desk.brand[question.sales],
        category=category,
        pinned=pinned_of(orders.pinned, columns, num),
        pool=_little_known(asked, plan),
        fresh=is_new(question.days_known) & ~question.curated,
        most_fresh=_most_fresh(asked, plan),
    )


def pinned_of(pinned: I64, columns: I64, num: int) -> I64 | None:
    """Turn columns of the shelf I64[N] into columns of the offer I64[num, N]; None = no pin.

    `columns` I64[1, c] or I64[num, c] are the shelf's, of the sales in question.
    """
    if (pinned == NONE).all():
        return None
    here = columns[:, None, :] == np.where(pinned == NONE, NONE - 1, pinned)[None, :, None]
    found = np.where(here.any(axis=2), here.argmax(axis=2), NONE)
    return np.broadcast_to(found, (num, len(pinned)))


def _little_known(asked: Asked, plan: Blend | Spaced) -> Bool | None:
    """Return the sales of which fewer engagements are known than are wanted, Bool[n, c]."""
    if plan.explore_share <= 0:
        return None
    few: Bool = asked.x[:, :, KNOWN] < np.log1p(np.float32(plan.explore_below)) - 1e-6
    return few


def _most_fresh(asked: Asked, plan: Blend | Spaced) -> I16 | None:
    """Return how many new sales a slate may have, I16[n]: fewer for those who like them least."""
    if not plan.most_new:
        return None
    question = asked.question
    least = question.appetite < np.float32(question.desk.appetite.low)
    return np.where(least, np.minimum(plan.most_new, _ANY), _ANY).astype(np.int16)
