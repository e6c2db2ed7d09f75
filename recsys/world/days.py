"""A day for everybody: attempts by block, stock settled over all, then what truly happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from recsys.world.behave import live
from recsys.world.carry import carry
from recsys.world.lived import MINUTE, Block, Pairs, joined
from recsys.world.log import Log, Settled, make_log
from recsys.world.policy import Policy
from recsys.world.retailer import World, offer, open_sales
from recsys.world.state import NEVER, State

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
    settled = settle(world, state, lived.pairs)
    after = carry(world, state, lived=lived, settled=settled)
    return Day(
        log=make_log(world, lived, settled=settled, day=state.day),
        totals=_totals(world, state, lived=lived, settled=settled, after=after),
        state=after,
    )


def settle(world: World, state: State, pairs: Pairs) -> Settled:
    """Serve the purchases of each sale in order of time until its stock is gone."""
    tried = np.flatnonzero(pairs.buy_at != NEVER)
    order = tried[np.lexsort((pairs.member[tried], pairs.buy_at[tried], pairs.sale[tried]))]
    sale = pairs.sale[order]
    rank = np.arange(len(sale)) - np.searchsorted(sale, sale)
    left = state.stock_left[sale]
    bought = np.zeros(len(pairs.sale), dtype=np.bool_)
    bought[order] = rank < left
    sold_out_at = state.sold_out_at.copy()
    last = rank == left - 1
    sold_out_at[sale[last]] = pairs.buy_at[order[last]]
    gone = sold_out_at[pairs.sale]
    late = pairs.at + MINUTE // 2
    closes = np.minimum(world.sales.closes_at[pairs.sale], world.noon(state.day + 1))
    return Settled(
        bought=bought,
        carted=(pairs.cart_at != NEVER) & (pairs.cart_at <= gone),
        waits=pairs.waits & (gone < late) & (late < closes),
        stock_left=state.stock_left
        - np.bincount(sale[rank < left], minlength=len(state.stock_left)),
        sold_out_at=sold_out_at,
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


def _totals(world: World, state: State, *, lived: Block, settled: Settled, after: State) -> Totals:
    """Sum up a day; money in whole cents, so that the order of adding does not matter."""
    pairs, sales = lived.pairs, world.sales
    sold = pairs.sale[settled.bought]
    cents = np.round(100 * sales.price.astype(np.float64)).astype(np.int64)
    kept = np.round(cents * sales.margin_share).astype(np.int64)
    return Totals(
        day=state.day,
        mails=lived.mails,
        visits=len(lived.visit_member),
        views=len(pairs.sale),
        clicks=int(pairs.clicked.sum()),
        purchases=len(sold),
        revenue=int(cents[sold].sum()) / 100,
        margin=int(kept[sold].sum()) / 100,
        first_brand_purchases=int(pairs.new[settled.bought].sum()),
        unsubscribes=int((state.subscribed & ~after.subscribed).sum()),
    )
