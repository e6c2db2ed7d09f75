"""A day of a block of members: clicks, views, and what they try to buy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from recsys.domain.arrays import F32, F64, I64, NONE, U8, Bool
from recsys.domain.events import Channel
from recsys.domain.ties import splitmix64
from recsys.world.draws import U64, Luck, cells, draw, draws, places, salt, unit
from recsys.world.habits import MAX_VISITS, Mails, Today, Visits, flags, mails, visit, visits
from recsys.world.lived import MINUTE, Block, Pairs, joined, taken
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

TILE = 4_096
"""Active members whose cells are held at a time."""


@dataclass(frozen=True)
class _Found:
    """Engagements before anyone knows what comes of them."""

    member: I64
    """Places in the block."""
    column: I64
    at: I64
    phone: Bool
    liked: F32


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
        open_at=sent.opened_at,
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
        shown_sale=np.where(slates.columns >= 0, today.offer.rows.take(slates.columns), NONE),
        shown_propensity=slates.propensity,
        shown_mail_at=sent.first_at[served],
        shown_page_at=paid.first_at[served],
        shown_looks=sent.opened[served].astype(np.uint8) + (paid.count[served] > 0),
        shown_answered=_answered(today, pairs, rows=rows[served], columns=slates.columns),
    )


def _answered(today: Today, pairs: Pairs, *, rows: I64, columns: I64) -> Bool:
    """Tell which places of the slates of `rows` led to a view, Bool[k, SLOTS]."""
    # the last cell of each row stands for NONE and stays false
    width = len(today.offer) + 1
    viewed = np.zeros(len(rows) * width, dtype=np.bool_)
    viewed[np.searchsorted(rows, pairs.member) * width + today.offer.columns(pairs.sale)] = True
    first = np.arange(len(rows))[:, None] * width
    answered: Bool = viewed.take(np.where(columns >= 0, first + columns, first + width - 1))
    return answered


@dataclass(frozen=True)
class _Seen:
    """Who is there, how often, and what lies before them."""

    active: I64
    """Places in the block."""
    visits: I64
    """Of every member in the block."""
    open_at: I64
    """When a mail was opened, of every member in the block; 0 where none was."""
    columns: I64
    """Slates of the active, I64[a, SLOTS]."""

    def tiles(self) -> Iterator[_Seen]:
        """Cut the active into one part or more of at most `TILE` members."""
        for first in range(0, max(1, len(self.active)), TILE):
            of = slice(first, first + TILE)
            yield replace(self, active=self.active[of], columns=self.columns[of])


@dataclass(frozen=True)
class _Looks:
    """Looks at sales that lead on, to a click or to a view."""

    member: I64
    """Places in the block."""
    column: I64
    slot: I64
    """Place of the mail; 0 on the page."""
    liked: F32


def _engage(today: Today, seen: _Seen) -> Pairs:
    """Draw clicks and views of the active members and what comes of them."""
    looks = [_look(today, tile) for tile in seen.tiles()]
    clicks = _clicks(today, seen, joined([mail for mail, _ in looks]))
    views = _views(today, seen, joined([page for _, page in looks]))
    found = joined([clicks, views])
    closes_at = today.offer.at + today.offer.closes_in[found.column]
    stays = found.at < np.minimum(closes_at, today.world.noon(today.offer.day + 1))
    clicked = np.arange(len(stays)) < len(clicks.at)
    return _follow(today, taken(found, stays), clicked=clicked[stays])


def _look(today: Today, seen: _Seen) -> tuple[_Looks, _Looks]:
    """Draw which looks of few members, in their mails and on the page, lead on."""
    liked = utility(today.world, today.state, today.offer, rows=today.rows[seen.active])
    return _look_at_mail(today, seen, liked), _look_at_page(today, seen, liked)


def _look_at_mail(today: Today, seen: _Seen, liked: F32) -> _Looks:
    """Draw the looks at opened mails that lead to a click."""
    mailed = np.flatnonzero(seen.open_at[seen.active])
    columns = seen.columns[mailed]
    key = _click_key(today, seen.active[mailed])
    luck = unit(splitmix64(key[:, None] ^ today.offer.luck[columns]))
    odds = liked[mailed[:, None], columns] - np.float32(MAIL)
    row, slot = places((columns >= 0) & (luck < LOOK_MAIL * chance(odds)))
    column = columns[row, slot]
    row = mailed[row]
    return _Looks(member=seen.active[row], column=column, slot=slot, liked=liked[row, column])


def _look_at_page(today: Today, seen: _Seen, liked: F32) -> _Looks:
    """Draw the looks on visits that lead to a view."""
    there = np.flatnonzero(seen.visits[seen.active])
    paid = seen.visits[seen.active[there]]
    key = (_view_key(today, seen.active[there]) >> np.uint64(32)).astype(np.uint32)
    bits = cells(key, today.offer.luck).view(np.int32).astype(np.float32)
    chances = _view_chances(seen.columns[there], paid, liked.take(there, axis=0))
    chances *= np.float32(2.0**24)
    row, column = places(bits < chances)
    row = there[row]
    return _Looks(
        member=seen.active[row],
        column=column,
        slot=np.zeros(len(row), dtype=np.int64),
        liked=liked[row, column],
    )


def _view_chances(columns: I64, paid: I64, odds: F32) -> F32:
    """Return the chance that members view each sale in `paid` visits, F32[m, s].

    A sale is looked at by menus and search, or by its place in the slate; then odds decide.
    """
    missed = (np.float32(1 - BROWSE) ** np.arange(MAX_VISITS + 1, dtype=np.float32))[paid]
    look = np.repeat(1 - missed, odds.shape[1])
    row, slot = places(columns >= 0)
    column = columns[row, slot]
    look[row * odds.shape[1] + column] = 1 - missed[row] * (1 - LOOK_PAGE[slot])
    look = look.reshape(odds.shape)
    np.subtract(np.float32(PAGE), odds, out=odds)
    np.exp(odds, out=odds)
    odds += 1
    look /= odds
    return look


def _click_key(today: Today, member: I64) -> U64:
    """Return the source of the luck of clicks of places in the block."""
    return today.key[member] ^ salt(Luck.CLICK, today.offer.day)


def _view_key(today: Today, member: I64) -> U64:
    """Return the source of the luck of views of places in the block."""
    return splitmix64(today.key[member] ^ salt(Luck.VIEW, today.offer.day))


def _clicks(today: Today, seen: _Seen, looks: _Looks) -> _Found:
    """Return the clicks that looks at mails lead to."""
    member = looks.member
    after = (5 + 20 * looks.slot) * (MINUTE // 60) + MINUTE // 20
    phone = today.world.members.phone[today.rows[member]]
    return _Found(
        member=member,
        column=looks.column,
        at=seen.open_at[member] + after,
        phone=draw(_click_key(today, member), Luck.CLICK, 1) < phone,
        liked=looks.liked,
    )


def _views(today: Today, seen: _Seen, looks: _Looks) -> _Found:
    """Return the views that looks on the page lead to."""
    member = looks.member
    words = splitmix64(_view_key(today, member) ^ today.offer.luck[looks.column])
    number = np.floor(unit(words) * seen.visits[member]).astype(np.int64)
    at, phone = visit(today, member, number)
    after = (words & np.uint64(0xFFFFF)).astype(np.int64) * (12 * MINUTE >> 20)
    return _Found(
        member=member,
        column=looks.column,
        at=at + MINUTE // 10 + after,
        phone=phone,
        liked=looks.liked,
    )


def _follow(today: Today, found: _Found, *, clicked: Bool) -> Pairs:
    """Draw carts and purchases, where and when they are tried."""
    world, offer = today.world, today.offer
    rows, sale = today.rows[found.member], offer.rows[found.column]
    by_page, by_mail = (salt(Luck.PATH, offer.day, way) for way in (0, 1))
    path = np.where(clicked, by_mail, by_page)
    words = splitmix64(today.key[found.member] ^ world.sales.key[sale] ^ path)
    luck = draws(words, 6, Luck.PATH)
    carts = luck[:, 0] < chance(cart_log_odds(found.liked))
    odds = purchase_log_odds(found.liked, found.phone.astype(np.float32))
    buys = carts & (luck[:, 1] < chance(odds))
    channel, delay = _paths(world.members.in_shop[rows], found.phone, luck)
    cart_at = found.at + ((1 + 5 * luck[:, 4]) * MINUTE).astype(np.int64)
    buy_at = cart_at + (delay * MINUTE).astype(np.int64)
    end = np.minimum(offer.at + offer.closes_in[found.column], world.noon(offer.day + 1))
    brand = world.sales.brand[sale].astype(np.int16)
    known = today.state.known.take(rows, axis=0) == brand[:, None]
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
