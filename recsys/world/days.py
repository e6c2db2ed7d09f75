"""A day for everybody: attempts by block, stock settled over all, then what truly happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from recsys.world.behave import live
from recsys.world.carry import carry
from recsys.world.lived import Block, joined
from recsys.world.log import Log, make_log
from recsys.world.policy import Policy
from recsys.world.retailer import World, offer, open_sales
from recsys.world.state import State
from recsys.world.stock import Attempts, Served, attempts, serve, settled

BLOCK = 32_768
"""Members of one block; `behave.TILE` bounds how many of their cells are held at a time."""


@dataclass(frozen=True)
class Totals:
    """What a day brought."""

    day: int
    mails: int
    visits: int
    views: int
    clicks: int
    purchases: int
    revenue: float
    """Euros."""
    margin: float
    """Euros."""
    first_brand_purchases: int
    unsubscribes: int


@dataclass(frozen=True)
class Day:
    """A day played: its log, its totals and the state at the next noon."""

    log: Log
    totals: Totals
    state: State


def play_day(
    world: World, state: State, *, policy: Policy, block: int = BLOCK, order: int = 1
) -> Day:
    """Play the day that `state` stands before; equal bits for any `block` and `order` (1 or -1).

    state: its arrays are not changed.
    """
    at = world.noon(state.day)
    today = offer(world, open_sales(world, state, at=at), at=at)
    size = len(world.members)
    blocks = [
        live(world, state, today, rows=np.arange(first, min(first + block, size)), policy=policy)
        for first in range(0, size, block)[::order]
    ]
    lived = _merge_blocks(blocks[::order])
    tried = attempts(lived.pairs)
    served = serve(tried, stock_left=state.stock_left, sold_out_at=state.sold_out_at)
    allowed = settled(world, lived.pairs, served, day=state.day)
    after = carry(world, state, lived=lived, settled=allowed)
    left = int((state.subscribed & ~after.subscribed).sum())
    return Day(
        log=make_log(world, lived, settled=allowed, day=state.day),
        totals=total(
            world,
            Counts.of(lived),
            tried,
            served=served,
            day=state.day,
            unsubscribes=left,
        ),
        state=after,
    )


def _merge_blocks(blocks: Sequence[Block]) -> Block:
    """Join blocks that stand in ascending order of members."""
    if len(blocks) == 1:
        return blocks[0]
    pairs = joined([block.pairs for block in blocks])
    arrays = {
        field.name: np.concatenate([getattr(block, field.name) for block in blocks])
        for field in fields(Block)
        if field.name not in {"pairs", "mails"}
    }
    return Block(**arrays, pairs=pairs, mails=sum(block.mails for block in blocks))


@dataclass(frozen=True)
class Counts:
    """What some members did on a day, as far as stock has no part in it."""

    mails: int
    visits: int
    views: int
    clicks: int

    @classmethod
    def of(cls, lived: Block) -> Counts:
        """Count what a block of members did."""
        pairs = lived.pairs
        return cls(lived.mails, len(lived.visit_member), len(pairs.sale), int(pairs.clicked.sum()))

    def __add__(self, other: Counts) -> Counts:
        """Return what both did."""
        return Counts(
            self.mails + other.mails,
            self.visits + other.visits,
            self.views + other.views,
            self.clicks + other.clicks,
        )


def total(
    world: World, counts: Counts, tried: Attempts, *, served: Served, day: int, unsubscribes: int
) -> Totals:
    """Sum up a day; money in whole cents, so that the order of adding does not matter."""
    sales = world.sales
    sold = tried.sale[served.bought]
    cents = np.round(100 * sales.price.astype(np.float64)).astype(np.int64)
    kept = np.round(cents * sales.margin_share).astype(np.int64)
    return Totals(
        day=day,
        mails=counts.mails,
        visits=counts.visits,
        views=counts.views,
        clicks=counts.clicks,
        purchases=len(sold),
        revenue=int(cents[sold].sum()) / 100,
        margin=int(kept[sold].sum()) / 100,
        first_brand_purchases=int(tried.new[served.bought].sum()),
        unsubscribes=unsubscribes,
    )
