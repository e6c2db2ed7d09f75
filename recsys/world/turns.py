"""A block of members between two days: what stock allowed of yesterday, then today's attempts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recsys.domain.arrays import I64, NONE, Bool
from recsys.domain.events import KIND_WEIGHTS
from recsys.world.behave import live
from recsys.world.carry import carry
from recsys.world.days import Counts
from recsys.world.log import FLAG_FOUND, events_of, shown_of
from recsys.world.members import Joining, Members, members_at
from recsys.world.policy import logging_policy
from recsys.world.retailer import World, offer, open_sales
from recsys.world.state import State
from recsys.world.stock import Attempts, Served, attempts, settled
from recsys.world.store import Store, opened


@dataclass(frozen=True)
class Turn:
    """A block's work at the noon of a day."""

    folder: str
    day: int
    """The day to be lived; the number of days when only the last is to be finished."""
    block: int
    joins: Joining


@dataclass(frozen=True)
class Finished:
    """What a block's yesterday came to."""

    unsubscribed: int
    events: int
    learned: int
    """Events that may be learned from."""


@dataclass(frozen=True)
class Begun:
    """What has to be known of a block's today before anybody's can be finished."""

    counts: Counts
    tried: Attempts
    brand_views: I64
    """Views of each brand's sales."""


@dataclass(frozen=True)
class Turned:
    """What came of a turn; nothing where there was no yesterday or is no today."""

    block: int
    finished: Finished
    begun: Begun


def turn(job: Turn) -> Turned:
    """Finish a block's yesterday and let it live today; can be done again with equal bits."""
    store = opened(job.folder)
    finished, begun = Finished(0, 0, 0), nothing(store.shop)
    if job.day:
        finished = _finish(store, job.day - 1, job.block)
    else:
        _settle_in(store, job)
    if job.day < store.spec.num_days:
        begun = _live(store, job.day, job.block)
    return Turned(job.block, finished, begun)


def nothing(world: World) -> Begun:
    """Return what nobody did."""
    none = np.zeros(0, dtype=np.int64)
    return Begun(
        counts=Counts(0, 0, 0, 0),
        tried=Attempts(none, none, none, none.astype(np.bool_)),
        brand_views=np.zeros(len(world.brands), dtype=np.int64),
    )


def _settle_in(store: Store, job: Turn) -> None:
    """Draw a block's members and what they know before the first day."""
    rows = store.rows(job.block)
    numbers = np.arange(rows.start, rows.stop)
    members = members_at(store.spec, numbers, joins=job.joins)
    store.put_members(rows, members)
    store.put_state(rows, replace(store.shop, members=members).start, kept=True)


def _block(store: Store, day: int, block: int) -> tuple[World, State]:
    """Return a block as a world of its own, members counted from its first."""
    rows = store.rows(block)
    return replace(store.shop, members=store.members(rows)), store.state(day, rows)


def _live(store: Store, day: int, block: int) -> Begun:
    world, state = _block(store, day, block)
    at = world.noon(day)
    lived = live(
        world,
        state,
        offer(world, open_sales(world, state, at=at), at=at),
        rows=np.arange(len(world.members)),
        policy=logging_policy,
    )
    store.put_lived(day, block, lived)
    tried = attempts(lived.pairs)
    return Begun(
        counts=Counts.of(lived),
        tried=replace(tried, member=tried.member + store.rows(block).start),
        brand_views=np.bincount(world.sales.brand[lived.pairs.sale], minlength=len(world.brands)),
    )


def _finish(store: Store, day: int, block: int) -> Finished:
    world, state = _block(store, day, block)
    lived, end = store.lived(day, block), store.day_end(day)
    served = Served(
        bought=end.bought[end.bought_ptr[block] : end.bought_ptr[block + 1]],
        stock_left=end.stock_left,
        sold_out_at=end.sold_out_at,
    )
    allowed = settled(world, lived.pairs, served, day=day)
    after = carry(world, state, lived=lived, settled=allowed, in_place=True)
    events = events_of(world, lived, settled=allowed, day=day)
    store.put_log(day, block, events=events, shown=shown_of(lived))
    store.put_state(store.rows(block), after)
    return Finished(
        unsubscribed=int((state.subscribed & ~after.subscribed).sum()),
        events=len(events["member"]),
        learned=int(learnable(world.members, events).sum()),
    )


def learnable(members: Members, events: dict[str, np.ndarray]) -> Bool:
    """Tell which events are engagements with a sale, by a person who consents to learning."""
    found: Bool = (
        (events["sale"] != NONE)
        & (KIND_WEIGHTS[events["kind"]] > 0)
        & (events["flags"] & FLAG_FOUND == 0)
        & members.consent_personalise[events["member"]]
    )
    return found
