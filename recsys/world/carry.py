"""What a day leaves behind: brands known, pleasure, weariness, mails given up."""

from __future__ import annotations

import numpy as np

from recsys.domain.arrays import F32, F64, I16, I32, I64, NONE, U8
from recsys.world.draws import Luck, draw
from recsys.world.lived import Block
from recsys.world.log import Settled
from recsys.world.retailer import World
from recsys.world.state import KNOWN, State, liking

BOOST = 0.15
"""What a first purchase that pleases by 1 adds to the rate of visits."""
BOOST_STAYS = 0.97
TIRED_STAYS = 0.9
LEAVES = 0.0004
"""Chance to unsubscribe at each opened mail without a click."""
LEAVES_TIRED = 0.0008
"""What each such mail of late adds to it."""
VIEWS_STAY = 0.9


def carry(
    world: World, state: State, *, lived: Block, settled: Settled, in_place: bool = False
) -> State:
    """Return the state at the next noon.

    in_place: brands known and how they pleased, by far the largest arrays and nearly all as they
    were, are written into those of `state`.
    """
    pairs = lived.pairs
    known, like, num_known, boost = _learn(
        world, state, lived=lived, settled=settled, in_place=in_place
    )
    tired, subscribed = _tire(world, state, lived)
    shown, shown_times = _show(state, lived)
    views = np.bincount(world.sales.brand[pairs.sale], minlength=len(world.brands))
    return State(
        day=state.day + 1,
        known=known,
        like=like,
        num_known=num_known,
        boost=boost,
        tired=tired,
        subscribed=subscribed,
        shown=shown,
        shown_times=shown_times,
        stock_left=settled.stock_left,
        sold_out_at=settled.sold_out_at,
        brand_views=fade(state.brand_views, views),
    )


def fade(brand_views: F64, views: I64) -> F64:
    """Return the views of each brand's sales with those of one day more, F64[b]."""
    return VIEWS_STAY * brand_views + views


def _learn(
    world: World, state: State, *, lived: Block, settled: Settled, in_place: bool
) -> tuple[I16, F32, I32, F32]:
    """Return known, like, num_known and boost after first purchases of brands."""
    pairs, count = lived.pairs, len(world.brands)
    first = settled.bought & pairs.new
    keys = np.unique(pairs.member[first] * count + world.sales.brand[pairs.sale[first]])
    member, brand = keys // count, keys % count
    rank = np.arange(len(member)) - np.searchsorted(member, member)
    slot = (state.num_known[member] + rank) % KNOWN
    pleased = liking(world.members.key[member], world.brands, brand)
    known = state.known if in_place else state.known.copy()
    like = state.like if in_place else state.like.copy()
    num_known = state.num_known.copy()
    known[member, slot] = brand
    like[member, slot] = pleased
    np.add.at(num_known, member, 1)
    boost = state.boost * np.float32(BOOST_STAYS)
    gain = np.float32(BOOST * world.spec.discovery_value) * np.maximum(pleased, 0)
    np.add.at(boost, member, gain)
    return known, like, num_known, boost


def _tire(world: World, state: State, lived: Block) -> tuple[F32, np.ndarray]:
    """Return tired and subscribed after the mails opened without a click."""
    people = lived.open_member[~lived.open_machine]
    clicked = np.zeros(len(state.tired), dtype=np.bool_)
    clicked[lived.pairs.member[lived.pairs.clicked]] = True
    bored = people[~clicked[people]]
    tired = state.tired * np.float32(TIRED_STAYS)
    tired[bored] += 1
    hazard = LEAVES + LEAVES_TIRED * world.spec.irritation * tired[bored]
    luck = draw(world.members.key[bored], Luck.LEAVE, state.day)
    subscribed = state.subscribed.copy()
    subscribed[bored[luck < hazard]] = False
    return tired, subscribed


def _show(state: State, lived: Block) -> tuple[I32, U8]:
    """Return the last slates that people saw and did not answer, and how often they saw them."""
    seen = lived.shown_looks > 0
    member = lived.shown_member[seen]
    now = np.where(lived.shown_answered[seen], NONE, lived.shown_sale[seen]).astype(np.int32)
    # places first: arrays over members are long and compared as a whole
    sale, last, last_times = (
        np.ascontiguousarray(of.T)
        for of in (now, state.shown.take(member, axis=0), state.shown_times.take(member, axis=0))
    )
    times = np.zeros(sale.shape, dtype=np.int16)
    for other, often in zip(last, last_times, strict=True):
        times += (sale == other) * often
    times[sale == NONE] = 0
    times += lived.shown_looks[seen]
    shown, shown_times = state.shown.copy(), state.shown_times.copy()
    shown[member] = now
    shown_times[member] = np.minimum(times, 200).T
    return shown, shown_times
