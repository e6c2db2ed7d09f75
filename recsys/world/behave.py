"""A day of a block of members: visits, mails, looks, clicks, views, and what they try to buy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, F64, I64, NONE, U8, Bool
from recsys.domain.events import Channel
from recsys.domain.ties import keyed, splitmix64
from recsys.world.clock import is_payday, weekday
from recsys.world.draws import U64, Luck, cells, draw, draws, unit
from recsys.world.policy import Noon, Policy
from recsys.world.retailer import Offer, World
from recsys.world.state import NEVER, SLOTS, State
from recsys.world.utility import MAIL, PAGE, cart_log_odds, chance, purchase_log_odds, utility

MAX_VISITS = 4
LOOK_MAIL = 0.85 ** np.arange(SLOTS, dtype=np.float32)
"""Chance that a place of an opened mail is looked at."""
LOOK_PAGE = 0.95 ** np.arange(SLOTS, dtype=np.float32)
"""The same at the head of the page, for a member who visits."""
BROWSE = 0.13
"""Chance that one visit comes by any given sale through menus and search."""
WEEKDAYS = np.array([1.0, 0.98, 1.12, 1.0, 0.98, 0.94, 1.03], dtype=np.float32)
PAYDAY = np.float32(1.15)
MINUTE = 60_000_000

_HOURS = np.array([0, 0.4, 1, 2, 4, 6, 8, 10, 12, 15, 18, 20, 22, 24]) / 24
_MASS = np.array([0, 0.17, 0.11, 0.06, 0.07, 0.08, 0.12, 0.14, 0.06, 0.01, 0.02, 0.07, 0.07, 0.05])
_WEEKEND = np.array([0, 0.08, 0.08, 0.08, 0.1, 0.1, 0.13, 0.14, 0.07, 0.01, 0.01, 0.05, 0.08, 0.07])
_OPENING = np.array([0, 0.3, 0.15, 0.1, 0.1, 0.1, 0.08, 0.05, 0.02, 0.01, 0.02, 0.04, 0.02, 0.01])
_GRAIN = 4_096


def _quantiles(mass: F64) -> F64:
    """Return the hour of day (as a part of it, from noon) below which each share lies."""
    cumulative = np.cumsum(mass) / mass.sum()
    return np.interp(np.arange(_GRAIN + 1) / _GRAIN, cumulative, _HOURS)


_VISIT_HOURS = (_quantiles(_MASS), _quantiles(_WEEKEND))
_OPEN_HOURS = _quantiles(_OPENING)


@dataclass(frozen=True)
class Pairs:
    """p members before sales they engaged with, in order of (source, member, column)."""

    member: I64
    sale: I64
    at: I64
    """When the sale is viewed, UTC us."""
    clicked: Bool
    """Came by a click in the mail."""
    phone: Bool
    new: Bool
    """The brand was not known to the member."""
    cart_at: I64
    """When it is put into the cart, or NEVER."""
    buy_at: I64
    """When a purchase is tried, or NEVER."""
    channel: U8
    """Where it is tried."""
    waits: Bool
    """Would join a wait-list if it is sold out."""


@dataclass(frozen=True)
class Block:
    """What a block of members did on a day, before stock is settled."""

    rows: I64
    """Members who visited or opened a mail themselves, ascending."""
    visit_member: I64
    visit_at: I64
    visit_phone: Bool
    open_member: I64
    """Members whose mail was opened: by themselves, then by proxies."""
    open_at: I64
    open_machine: Bool
    open_flagged: Bool
    mails: int
    """Mails sent."""
    pairs: Pairs
    shown_member: I64
    """Members to whom a slate was shown, each place a row in the log."""
    shown_sale: I64
    """I64[k, SLOTS]."""
    shown_propensity: F32
    shown_mail_at: I64
    """When it was rendered in the mail, or NEVER, I64[k]."""
    shown_page_at: I64
    """When it was first rendered on the page, or NEVER, I64[k]."""
    shown_looks: U8
    """How often a person had it before the eyes: mail, page, both or (by a proxy) never, U8[k]."""
    shown_answered: Bool
    """The place led to a view that day, Bool[k, SLOTS]."""


@dataclass(frozen=True)
class _Day:
    """What is common to a block's members on one day."""

    world: World
    state: State
    offer: Offer
    rows: I64
    """Members who are there, ascending."""
    key: U64

    def instants(self, parts: np.ndarray) -> I64:
        """Turn parts of the day, 0 at noon, into UTC us."""
        noon, end = self.offer.at, self.world.noon(self.offer.day + 1)
        return noon + (parts.astype(np.float64) * (end - noon)).astype(np.int64)


def live(world: World, state: State, offer: Offer, *, rows: I64, policy: Policy) -> Block:
    """Let a block of members (ascending rows) live one day: attempts, no stock yet."""
    members = world.members
    day = offer.day
    rows = rows[(members.joined_day[rows] <= day) & (day < members.left_day[rows])]
    today = _Day(world, state, offer, rows, members.key[rows])
    visits = _visits(today)
    sent, opened, proxied = _mails(today)
    active = np.flatnonzero((visits > 0) | opened)
    served = np.flatnonzero((visits > 0) | opened | proxied)
    slates = policy(Noon(world, state, offer, rows[served]))
    open_at = today.instants(_quantile(_OPEN_HOURS, draw(today.key, Luck.OPEN, 1, day)))
    proxy_at = offer.at + (draw(today.key, Luck.PROXY, 1, day) * 20 * MINUTE).astype(np.int64)
    member, visit, visit_at, phone = _visit_times(today, visits)
    first_at = np.full(len(rows), NEVER)
    np.minimum.at(first_at, member, visit_at)
    mail_at = np.minimum(np.where(opened, open_at, NEVER), np.where(proxied, proxy_at, NEVER))
    people, machines = np.flatnonzero(opened), np.flatnonzero(proxied)
    flagged = draw(today.key, Luck.PROXY, 2, day) < np.where(proxied, 0.85, 0.0)
    pairs = _engage(
        today, _Seen(active, visits, open_at * opened, slates.columns[np.isin(served, active)])
    )
    clicks = pairs.clicked
    return Block(
        rows=rows[active],
        visit_member=np.concatenate([rows[member], pairs.member[clicks]]),
        visit_at=np.concatenate([visit_at, pairs.at[clicks] - MINUTE // 30]),
        visit_phone=np.concatenate([phone, pairs.phone[clicks]]),
        open_member=rows[np.concatenate([people, machines])],
        open_at=np.concatenate([open_at[people], proxy_at[machines]]),
        open_machine=np.arange(len(people) + len(machines)) >= len(people),
        open_flagged=np.concatenate([
            draw(today.key[people], Luck.PROXY, 3, day) < 0.005,
            flagged[machines],
        ]),
        mails=int(sent.sum()),
        pairs=pairs,
        shown_member=rows[served],
        shown_sale=np.where(slates.columns >= 0, offer.rows[slates.columns], NONE),
        shown_propensity=slates.propensity,
        shown_mail_at=mail_at[served],
        shown_page_at=first_at[served],
        shown_looks=(opened[served].astype(np.uint8) + (visits[served] > 0)).astype(np.uint8),
        shown_answered=_answered(today, pairs, rows[served], slates.columns),
    )


def _answered(today: _Day, pairs: Pairs, rows: I64, columns: I64) -> Bool:
    """Tell which places of the slates of `rows` led to a view, Bool[k, SLOTS]."""
    viewed = np.zeros((len(rows), len(today.offer) + 1), dtype=np.bool_)
    place = np.searchsorted(rows, pairs.member)
    viewed[place, today.offer.columns(pairs.sale)] = True
    viewed[:, NONE] = False
    return np.take_along_axis(viewed, columns, axis=1)


def _visits(today: _Day) -> I64:
    """Draw how often each member comes by, I64[m], at most `MAX_VISITS`; all on joining."""
    members, day = today.world.members, today.offer.day
    rate = members.rate[today.rows] * (1 + today.state.boost[today.rows]) * WEEKDAYS[weekday(day)]
    rate = rate * PAYDAY if is_payday(day) else rate
    luck = draw(today.key, Luck.VISITS, day)
    term = np.exp(-rate)
    below = term.copy()
    count = (luck >= below).astype(np.int64)
    for number in range(1, MAX_VISITS):
        term = term * rate / number
        below = below + term
        count += luck >= below
    return np.maximum(count, members.joined_day[today.rows] == day)


def _mails(today: _Day) -> tuple[Bool, Bool, Bool]:
    """Draw who is sent a mail, who opens it, and whose proxy does, Bool[m] each."""
    members, day, rows = today.world.members, today.offer.day, today.rows
    turn = (today.key % np.uint64(7)).astype(np.int64) == weekday(day)
    sent = today.state.subscribed[rows] & (members.mailed_daily[rows] | turn)
    gone_off = np.float32(0.04) * today.state.tired[rows]
    opens = chance(members.openness[rows] - gone_off + np.float32(0.1) * (weekday(day) < 5))
    opened = sent & (draw(today.key, Luck.OPEN, 0, day) < opens)
    proxied = sent & members.proxy[rows] & (draw(today.key, Luck.PROXY, 0, day) < 0.7)
    return sent, opened, proxied


def _quantile(table: F64, numbers: F32) -> F64:
    """Look a share up in a table of quantiles, with a straight line between its entries."""
    place = numbers.astype(np.float64) * _GRAIN
    lower = place.astype(np.int64)
    return table[lower] + (place - lower) * (table[lower + 1] - table[lower])


def _visit_times(today: _Day, visits: I64) -> tuple[I64, I64, I64, Bool]:
    """Return member (place in the block), number, instant and device of each visit."""
    member = np.repeat(np.arange(len(visits)), visits)
    number = np.arange(len(member)) - np.repeat(np.cumsum(visits) - visits, visits)
    at, phone = _visit(today, member, number)
    return member, number, at, phone


def _visit(today: _Day, member: I64, number: I64) -> tuple[I64, Bool]:
    """Return instant and device of given visits: the same visit, the same luck."""
    day = today.offer.day
    words = splitmix64(today.key[member] ^ keyed(Luck.VISIT_TIME, day) ^ number.astype(np.uint64))
    at = today.instants(_quantile(_VISIT_HOURS[weekday(day) > 4], unit(words)))
    luck = ((words >> np.uint64(8)) & np.uint64(0xFFFF)).astype(np.float32) / 65_536
    return at, luck < today.world.members.phone[today.rows[member]]


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


def _engage(today: _Day, seen: _Seen) -> Pairs:
    """Draw clicks and views of the active members and what comes of them."""
    liked = utility(today.world, today.state, today.offer, rows=today.rows[seen.active])
    clicks = _clicks(today, seen, liked)
    views = _views(today, seen, liked)
    place, column, at, phone = (np.concatenate(both) for both in zip(clicks, views, strict=True))
    clicked = np.arange(len(place)) < len(clicks[0])
    end = today.world.noon(today.offer.day + 1)
    stays = at < np.minimum(today.offer.at + today.offer.closes_in[column], end)
    place, column, at = place[stays], column[stays], at[stays]
    return _follow(
        today,
        _Found(seen.active[place], column, at, phone[stays], clicked[stays], liked[place, column]),
    )


def _clicks(today: _Day, seen: _Seen, liked: F32) -> tuple[I64, I64, I64, Bool]:
    """Return place among the active, column, instant of the view and device of each click."""
    mailed = np.flatnonzero(seen.open_at[seen.active] > 0)
    columns = seen.columns[mailed]
    key = today.key[seen.active[mailed]] ^ keyed(Luck.CLICK, today.offer.day)
    luck = unit(splitmix64(key[:, None] ^ today.offer.luck[columns]))
    odds = liked[mailed[:, None], columns] - np.float32(MAIL)
    row, slot = np.nonzero((columns >= 0) & (luck < LOOK_MAIL * chance(odds)))
    member = seen.active[mailed[row]]
    after = (5 + 20 * slot) * (MINUTE // 60) + MINUTE // 20
    at = seen.open_at[member] + after
    phone = draw(key[row], Luck.CLICK, 1) < today.world.members.phone[today.rows[member]]
    return mailed[row], columns[row, slot], at, phone


def _views(today: _Day, seen: _Seen, liked: F32) -> tuple[I64, I64, I64, Bool]:
    """Return place among the active, column, instant and device of each view on the page."""
    there = np.flatnonzero(seen.visits[seen.active] > 0)
    visits = seen.visits[seen.active[there]]
    missed = (np.float32(1 - BROWSE) ** np.arange(MAX_VISITS + 1, dtype=np.float32))[visits]
    look = np.repeat((1 - missed)[:, None], len(today.offer), axis=1)
    columns = seen.columns[there]
    row, slot = np.nonzero(columns >= 0)
    look[row, columns[row, slot]] = 1 - missed[row] * (1 - LOOK_PAGE[slot])
    odds = liked[there]
    np.subtract(np.float32(PAGE), odds, out=odds)
    np.exp(odds, out=odds)
    odds += 1
    look /= odds
    member = seen.active[there]
    key = splitmix64(today.key[member] ^ keyed(Luck.VIEW, today.offer.day))
    row, column = np.nonzero(
        cells((key >> np.uint64(32)).astype(np.uint32), today.offer.luck) < look
    )
    words = splitmix64(key[row] ^ today.offer.luck[column])
    number = np.floor(unit(words) * visits[row]).astype(np.int64)
    at, phone = _visit(today, member[row], number)
    after = (words & np.uint64(0xFFFFF)).astype(np.int64) * (12 * MINUTE >> 20)
    return there[row], column, at + MINUTE // 10 + after, phone


@dataclass(frozen=True)
class _Found:
    """Engagements before anyone knows what comes of them."""

    member: I64
    """Places in the block."""
    column: I64
    at: I64
    phone: Bool
    clicked: Bool
    liked: F32


def _follow(today: _Day, found: _Found) -> Pairs:
    """Draw carts and purchases, where and when they are tried."""
    world, offer = today.world, today.offer
    rows = today.rows[found.member]
    sale = offer.rows[found.column]
    words = splitmix64(
        today.key[found.member]
        ^ world.sales.key[sale]
        ^ keyed(Luck.PATH, offer.day, found.clicked.astype(np.int64))
    )
    luck = draws(words, 6, Luck.PATH)
    carts = luck[:, 0] < chance(cart_log_odds(found.liked))
    odds = purchase_log_odds(found.liked, found.phone.astype(np.float32))
    buys = carts & (luck[:, 1] < chance(odds))
    elsewhere = luck[:, 2] < 0.1
    in_shop = world.members.in_shop[rows] & (luck[:, 2] > 0.85)
    hours = np.where(elsewhere, 5.0, 8.0) * -np.log1p(-luck[:, 3].astype(np.float64))
    delay = np.where(elsewhere | in_shop, hours * 60, 1 + 7 * luck[:, 3])
    cart_at = found.at + ((1 + 5 * luck[:, 4]) * MINUTE).astype(np.int64)
    buy_at = cart_at + (delay * MINUTE).astype(np.int64)
    end = np.minimum(offer.at + offer.closes_in[found.column], world.noon(offer.day + 1))
    home = np.where(found.phone, Channel.APP, Channel.WEB)
    other = np.where(found.phone, Channel.WEB, Channel.APP)
    known = today.state.known[rows] == world.sales.brand[sale][:, None]
    return Pairs(
        member=rows,
        sale=sale,
        at=found.at,
        clicked=found.clicked,
        phone=found.phone,
        new=~known.any(axis=1),
        cart_at=np.where(carts & (cart_at < end), cart_at, NEVER),
        buy_at=np.where(buys & (buy_at < end), buy_at, NEVER),
        channel=np.where(in_shop, Channel.SHOP, np.where(elsewhere, other, home)).astype(np.uint8),
        waits=luck[:, 5] < np.where(carts, 0.6, 0.04),
    )
