"""Members before one shelf in, their slates with all that the log wants out: their own, or plain.

A member gets the slate that is for all where there is no consent to more, where a rule bans all
that could be their own, and where there is no time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from recsys.campaign.audience import Audience, asked
from recsys.campaign.keys import U64, eligible_hash
from recsys.campaign.plain import plain_slates, plainly_offered
from recsys.campaign.slate_log import Offered
from recsys.domain.arrays import F32, I32, I64, NONE, Bool
from recsys.domain.slates import FLAG_PINNED, Slates
from recsys.rerank.dial import GRID, context_of, dial_of
from recsys.rerank.novelty import newness
from recsys.rerank.ranker import Made, Ranker
from recsys.rerank.rules import Orders
from recsys.rerank.spec import plan_of

CHUNK = 1024
"""Members decided at once: larger chunks are slower, not faster (DECISION 4)."""
_BESIDE = (
    "new",
    "eligible_count",
    "eligible_hash",
    "rule",
    "dial",
    "dial_own",
    "context",
    "by_dial",
)


@dataclass(frozen=True)
class Decided:
    """The slates of m members, in the order asked."""

    slates: Slates
    offered: Offered
    personal: Bool
    """Made for the member alone, Bool[m]; the others have the slate that is for all."""


def decide(ranker: Ranker, audience: Audience, personal: Bool, *, keys: U64) -> Decided:
    """Make the slates of an audience of m members, of as many slots as the ranker fills.

    Those of `personal` Bool[m] get their own, the others the slate that is for all. `keys`
    U64[s] are `keys_of` the ids of the shop's sales.
    """
    shop, shelf = audience.shop, audience.shop.shelf(audience.at)
    slots, members = ranker.spec.slots, audience.members.astype(np.int64)
    orders = ranker.house.terms(shop, shelf, slots=slots).orders
    slates = plain_slates(members, shop, shelf, slots=slots, banned=orders.banned)
    offered = plainly_offered(len(members), keys[shelf.sales], slots=slots, banned=orders.banned)
    if ranker.policy.dial_share > 0:
        chances = np.full((len(members), slots, 1 + len(GRID)), np.nan, dtype=np.float32)
        offered = replace(offered, by_dial=chances)
    rules = rules_behind(orders, shelf.sales, shop.num_sales)
    own = np.zeros(len(members), dtype=np.bool_)
    for rows, made in made_for(ranker, audience, np.flatnonzero(personal)):
        some = (made.slates.sales != NONE).any(axis=1)
        _put(slates, rows[some], made.slates, some=some)
        _put(offered, rows[some], _beside(ranker, made, keys, rules=rules), some=some)
        own[rows[some]] = True
    return Decided(slates, offered, own)


def made_for(ranker: Ranker, audience: Audience, rows: I64) -> Iterator[tuple[I64, Made]]:
    """Yield some members' own slates, with their rows I64[n] of the audience, chunk by chunk."""
    some = Audience(
        audience.shop, audience.at, audience.members[rows], audience.taste_of, audience.unit
    )
    first = 0
    for requests in asked(some, chunk=CHUNK):
        made = ranker.made(
            audience.shop,
            requests,
            requests.rows(0),
            taste=audience.taste_of(requests.member),
            unit=audience.unit,
        )
        yield rows[first : first + len(requests)], made
        first += len(requests)


def _beside(ranker: Ranker, made: Made, keys: U64, *, rules: I32) -> Offered:
    """Return what stands beside slates of the members' own; `rules` is `rules_behind`."""
    question, eligible = made.asked.question, made.offer.eligible
    sales, pinned = made.slates.sales, (made.slates.flags & FLAG_PINNED) > 0
    return Offered(
        new=_new(ranker, made),
        eligible_count=eligible.sum(axis=1),
        eligible_hash=eligible_hash(keys[question.sales], eligible),
        rule=np.where(sales == NONE, NONE, rules[pinned.astype(np.int64), sales]),
        dial=made.picks.dial,
        dial_own=dial_of(question, plan_of(ranker.spec)),
        context=context_of(question),
        by_dial=made.picks.by_dial,
    )


def _new(ranker: Ranker, made: Made) -> F32:
    """Return how new each slot's sale is to its member, F32[n, N]; 0 where a slate ended."""
    plan, columns = plan_of(ranker.spec), made.picks.columns
    days = np.take_along_axis(made.asked.question.days_known, np.maximum(columns, 0), axis=1)
    new = newness(days, soft=plan.newness == "soft", half_life_days=plan.half_life_days)
    return np.where(columns == NONE, np.float32(0), new)


def rules_behind(orders: Orders, shelf: I32, num_sales: int) -> I32:
    """Return the rule behind each sale of the shop, I32[2, s], or NONE, as in `Orders.rule`."""
    found = np.full((2, num_sales), NONE, dtype=np.int32)
    found[:, shelf] = orders.rule
    return found


def _put(into: Slates | Offered, rows: I64, made: Slates | Offered, *, some: Bool) -> None:
    """Write some of the members' slates, or what stands beside them, over the plain ones."""
    for name in _BESIDE if isinstance(into, Offered) else [one.name for one in fields(into)]:
        if getattr(into, name) is None:
            continue
        getattr(into, name)[rows] = getattr(made, name)[some]
