"""A day of a block of members: clicks, views, and what they try to buy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, F64, I64, NONE, U8, Bool
from recsys.domain.events import Channel
from recsys.domain.ties import keyed, splitmix64
from recsys.world.draws import Luck, cells, draw, draws, unit
from recsys.world.habits import MAX_VISITS, Mails, Today, Visits, flags, mails, visit, visits
from recsys.world.lived import MINUTE, Block, Pairs
from recsys.world.policy import Chosen, Noon, Policy
from recsys.world.retailer import Offer, World
from recsys.world.state import NEVER, SLOTS, State
from recsys.world.utility import MAIL, PAGE, cart_log_odds, chance, purchase_log_odds, utility

LOOK_MAIL = 0.85 ** np.arange(SLOTS, dtype=np.float32)
"""Chance that a place of an opened mail is looked at."""
LOOK_PAGE = 0.95 ** np.arange(SLOTS, dtype=np.float32)
"""The same at the head of the page, for a member who visits."""
BROWSE = 0.13
"""Chance that one visit comes by any given sale through menus and search."""


@dataclass(frozen=True)
class _Found:
    """Engagements before anyone knows what comes of them."""

    member: I64
    """Places in the block, or among the active while they are collected."""
    column: I64
    at: I64
    phone: Bool


def live(world: World, state: State, offer: Offer, *, rows: I64, policy: Policy) -> Block:
    """Let a block of members (ascending rows) live one day: attempts, no stock yet."""
    members = world.members
    rows = rows[(members.joined_day[rows] <= offer.day) & (offer.day < members.left_day[rows])]
    today = Today(world, state, offer, rows, members.key[rows])
    paid, sent = visits(today), mails(today)
    there = (paid.count > 0) | sent.opened
    served = np.flatnonzero(there | sent.proxied)
    slates = policy(Noon(world, state, offer, rows[served]))
    seen = _Seen(
        active=np.flatnonzero(there),
        visits=paid.count,
        open_at=sent.opened_at * sent.opened,
        columns=slates.columns[there[served]],
    )
    return _written(today, paid, sent, pairs=_engage(today, seen), slates=slates)


def _written(today: Today, paid: Visits, sent: Mails, *, pairs: Pairs, slates: Chosen) -> Block:
    """Write a day of a block down."""
    rows, clicks = today.rows, pairs.clicked
    there = (paid.count > 0) | sent.opened
    served = np.flatnonzero(there | sent.proxied)
    people, machines = np.flatnonzero(sent.opened), np.flatnonzero(sent.proxied)
    places = np.concatenate([people, machines])
    machine = np.arange(len(places)) >= len(people)
    return Block(
        rows=rows[there],
        visit_member=np.concatenate([rows[paid.member], pairs.member[clicks]]),
        visit_at=np.concatenate([paid.at, pairs.at[clicks] - MINUTE // 30]),
        visit_phone=np.concatenate([paid.phone, pairs.phone[clicks]]),
        open_member=rows[places],
        open_at=np.concatenate([sent.opened_at[people], sent.proxied_at[machines]]),
        open_machine=machine,
        open_flagged=flags(today, places=places, machine=machine),
        mails=int(sent.sent.sum()),
        pairs=pairs,
        shown_member=rows[served],
        shown_sale=np.where(slates.columns >= 0, today.offer.rows[slates.columns], NONE),
        shown_propensity=slates.propensity,
        shown_mail_at=sent.first_at[served],
        shown_page_at=paid.first_at[served],
        shown_looks=sent.opened[served].astype(np.uint8) + (paid.count[served] > 0),
        shown_answered=_answered(today, pairs, rows=rows[served], columns=slates.columns),
    )


def _answered(today: Today, pairs: Pairs, *, rows: I64, columns: I64) -> Bool:
    """Tell which places of the slates of `rows` led to a view, Bool[k, SLOTS]."""
    viewed = np.zeros((len(rows), len(today.offer) + 1), dtype=np.bool_)
    place = np.searchsorted(rows, pairs.member)
    viewed[place, today.offer.columns(pairs.sale)] = True
    viewed[:, NONE] = False
    answered: Bool = np.take_along_axis(viewed, columns, axis=1)
    return answered


@dataclass(frozen=True)
class _Seen:
    """Who is there, how often, and what lies before them."""

    active: I64
    """Places in the block."""
    visits: I64
    """Of every member in the block."""
    open_at: I64
    """When a mail was opened, of every member in the block; 0 where it was not."""
    columns: I64
    """Slates of the active, I64[a, SLOTS]."""


def _engage(today: Today, seen: _Seen) -> Pairs:
    """Draw clicks and views of the active members and what comes of them."""
    liked = utility(today.world, today.state, today.offer, rows=today.rows[seen.active])
    clicks, views = _clicks(today, seen, liked), _views(today, seen, liked)
    place = np.concatenate([clicks.member, views.member])
    column = np.concatenate([clicks.column, views.column])
    at = np.concatenate([clicks.at, views.at])
    end = today.world.noon(today.offer.day + 1)
    stays = at < np.minimum(today.offer.at + today.offer.closes_in[column], end)
    place, column = place[stays], column[stays]
    phone = np.concatenate([clicks.phone, views.phone])[stays]
    found = _Found(member=seen.active[place], column=column, at=at[stays], phone=phone)
    clicked = (np.arange(len(at)) < len(clicks.at))[stays]
    return _follow(today, found, clicked=clicked, liked=liked[place, column])


def _clicks(today: Today, seen: _Seen, liked: F32) -> _Found:
    """Draw the clicks in mails."""
    mailed = np.flatnonzero(seen.open_at[seen.active] > 0)
    columns = seen.columns[mailed]
    key = today.key[seen.active[mailed]] ^ keyed(Luck.CLICK, today.offer.day)
    luck = unit(splitmix64(key[:, None] ^ today.offer.luck[columns]))
    odds = liked[mailed[:, None], columns] - np.float32(MAIL)
    row, slot = np.nonzero((columns >= 0) & (luck < LOOK_MAIL * chance(odds)))
    member = seen.active[mailed[row]]
    after = (5 + 20 * slot) * (MINUTE // 60) + MINUTE // 20
    return _Found(
        member=mailed[row],
        column=columns[row, slot],
        at=seen.open_at[member] + after,
        phone=draw(key[row], Luck.CLICK, 1) < today.world.members.phone[today.rows[member]],
    )


def _views(today: Today, seen: _Seen, liked: F32) -> _Found:
    """Draw the views on the page."""
    there = np.flatnonzero(seen.visits[seen.active] > 0)
    paid = seen.visits[seen.active[there]]
    member = seen.active[there]
    key = splitmix64(today.key[member] ^ keyed(Luck.VIEW, today.offer.day))
    row, column = np.nonzero(
        cells((key >> np.uint64(32)).astype(np.uint32), today.offer.luck)
        < _view_chances(seen.columns[there], paid, liked[there])
    )
    words = splitmix64(key[row] ^ today.offer.luck[column])
    number = np.floor(unit(words) * paid[row]).astype(np.int64)
    at, phone = visit(today, member[row], number)
    after = (words & np.uint64(0xFFFFF)).astype(np.int64) * (12 * MINUTE >> 20)
    return _Found(member=there[row], column=column, at=at + MINUTE // 10 + after, phone=phone)


def _view_chances(columns: I64, paid: I64, odds: F32) -> F32:
    """Return the chance that members view each sale in `paid` visits, F32[m, s].

    A sale is looked at by menus and search, or by its place in the slate; then odds decide.
    """
    missed = (np.float32(1 - BROWSE) ** np.arange(MAX_VISITS + 1, dtype=np.float32))[paid]
    look = np.repeat((1 - missed)[:, None], odds.shape[1], axis=1)
    row, slot = np.nonzero(columns >= 0)
    look[row, columns[row, slot]] = 1 - missed[row] * (1 - LOOK_PAGE[slot])
    np.subtract(np.float32(PAGE), odds, out=odds)
    np.exp(odds, out=odds)
    odds += 1
    look /= odds
    return look


def _follow(today: Today, found: _Found, *, clicked: Bool, liked: F32) -> Pairs:
    """Draw carts and purchases, where and when they are tried."""
    world, offer = today.world, today.offer
    rows, sale = today.rows[found.member], offer.rows[found.column]
    path = keyed(Luck.PATH, offer.day, clicked.astype(np.int64))
    words = splitmix64(today.key[found.member] ^ world.sales.key[sale] ^ path)
    luck = draws(words, 6, Luck.PATH)
    carts = luck[:, 0] < chance(cart_log_odds(liked))
    odds = purchase_log_odds(liked, found.phone.astype(np.float32))
    buys = carts & (luck[:, 1] < chance(odds))
    channel, delay = _paths(world.members.in_shop[rows], found.phone, luck)
    cart_at = found.at + ((1 + 5 * luck[:, 4]) * MINUTE).astype(np.int64)
    buy_at = cart_at + (delay * MINUTE).astype(np.int64)
    end = np.minimum(offer.at + offer.closes_in[found.column], world.noon(offer.day + 1))
    known = today.state.known[rows] == world.sales.brand[sale][:, None]
    return Pairs(
        member=rows,
        sale=sale,
        at=found.at,
        clicked=clicked,
        phone=found.phone,
        new=~known.any(axis=1),
        cart_at=np.where(carts & (cart_at < end), cart_at, NEVER),
        buy_at=np.where(buys & (buy_at < end), buy_at, NEVER),
        channel=channel,
        waits=luck[:, 5] < np.where(carts, 0.6, 0.04),
    )


def _paths(shops: Bool, phone: Bool, luck: F32) -> tuple[U8, F64]:
    """Return where a purchase is tried and how many minutes after the cart.

    Some finish it hours later on another device, or in a shop.
    """
    elsewhere = luck[:, 2] < 0.1
    in_shop = shops & (luck[:, 2] > 0.85)
    home = np.where(phone, Channel.APP, Channel.WEB)
    other = np.where(phone, Channel.WEB, Channel.APP)
    hours = np.where(elsewhere, 5.0, 8.0) * -np.log1p(-luck[:, 3].astype(np.float64))
    channel = np.where(in_shop, Channel.SHOP, np.where(elsewhere, other, home))
    delay = np.where(elsewhere | in_shop, hours * 60, 1 + 7 * luck[:, 3])
    return channel.astype(np.uint8), delay
