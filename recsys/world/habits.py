"""Habits: when members come by, and whose mails are opened, by themselves or by a proxy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, F64, I64, Bool
from recsys.domain.ties import splitmix64
from recsys.world.clock import is_payday, weekday
from recsys.world.draws import U64, Luck, draw, salt, unit
from recsys.world.lived import MINUTE
from recsys.world.retailer import Offer, World
from recsys.world.state import NEVER, State
from recsys.world.utility import chance

MAX_VISITS = 4
WEEKDAYS = np.array([1.0, 0.98, 1.12, 1.0, 0.98, 0.94, 1.03], dtype=np.float32)
PAYDAY = np.float32(1.15)
PROXY_OPENS, PROXY_FOUND, WRONGLY_FOUND = 0.7, 0.85, 0.005
"""Chance that a proxy opens a mail; of a flag on its opens; of a flag on a person's open."""

_HOURS = np.array([0, 0.4, 1, 2, 4, 6, 8, 10, 12, 15, 18, 20, 22, 24]) / 24
_MASS = np.array([0, 0.19, 0.11, 0.06, 0.07, 0.08, 0.12, 0.14, 0.06, 0.01, 0.02, 0.07, 0.07, 0.05])
_WEEKEND = np.array([0, 0.08, 0.08, 0.08, 0.1, 0.1, 0.13, 0.14, 0.07, 0.01, 0.01, 0.05, 0.08, 0.07])
_OPENING = np.array([0, 0.3, 0.15, 0.1, 0.1, 0.1, 0.08, 0.05, 0.02, 0.01, 0.02, 0.04, 0.02, 0.01])
_GRAIN = 4_096


def _quantiles(mass: F64) -> F64:
    """Return the hour of day (as a part of it, from noon) below which each share lies."""
    cumulative = np.cumsum(mass) / mass.sum()
    return np.interp(np.arange(_GRAIN + 1) / _GRAIN, cumulative, _HOURS)


VISIT_HOURS = (_quantiles(_MASS), _quantiles(_WEEKEND))
"""Quantiles of the hour of a visit, as parts of the day from noon: workdays, weekends."""
_OPEN_HOURS = _quantiles(_OPENING)


@dataclass(frozen=True)
class Today:
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


@dataclass(frozen=True)
class Visits:
    """Visits of m members: how many each pays, and each of the v visits."""

    count: I64
    """I64[m]."""
    member: I64
    """Place in the block, ascending, I64[v]."""
    at: I64
    phone: Bool

    @property
    def first_at(self) -> I64:
        """When each member first came by, or NEVER, I64[m]."""
        first = np.full(len(self.count), NEVER)
        np.minimum.at(first, self.member, self.at)
        return first


@dataclass(frozen=True)
class Mails:
    """Mails to m members, arrays of length m."""

    sent: Bool
    opened: Bool
    """By the member."""
    proxied: Bool
    """By a privacy proxy."""
    opened_at: I64
    """When the member opened it; 0 where it was not."""
    proxied_at: I64
    """When the proxy did; 0 where it did not."""

    @property
    def first_at(self) -> I64:
        """When each mail was first rendered, or NEVER, I64[m]."""
        people = np.where(self.opened, self.opened_at, NEVER)
        return np.minimum(people, np.where(self.proxied, self.proxied_at, NEVER))


def visits(today: Today) -> Visits:
    """Draw the visits of a day."""
    count = _count_visits(today)
    member = np.repeat(np.arange(len(count)), count)
    number = np.arange(len(member)) - np.repeat(np.cumsum(count) - count, count)
    at, phone = visit(today, member, number)
    return Visits(count=count, member=member, at=at, phone=phone)


def visit(today: Today, member: I64, number: I64) -> tuple[I64, Bool]:
    """Return instant and device of given visits: the same visit, the same luck."""
    day = today.offer.day
    words = splitmix64(today.key[member] ^ salt(Luck.VISIT_TIME, day) ^ number.astype(np.uint64))
    at = today.instants(_quantile(VISIT_HOURS[weekday(day) > 4], unit(words)))
    luck = ((words >> np.uint64(8)) & np.uint64(0xFFFF)).astype(np.float32) / 65_536
    return at, luck < today.world.members.phone[today.rows[member]]


def _count_visits(today: Today) -> I64:
    """Draw how often each member comes by, I64[m], at most `MAX_VISITS`; all on joining."""
    members, day = today.world.members, today.offer.day
    rate = members.rate[today.rows] * (1 + today.state.boost[today.rows]) * WEEKDAYS[weekday(day)]
    rate = rate * PAYDAY if is_payday(day) else rate
    luck = draw(today.key, Luck.VISITS, day)
    term = np.exp(-rate)
    below = term.copy()
    count: I64 = (luck >= below).astype(np.int64)
    for number in range(1, MAX_VISITS):
        term = term * rate / number
        below = below + term
        count += luck >= below
    joins = members.joined_day[today.rows] == day
    count[joins] = np.maximum(count[joins], 1)
    return count


def mails(today: Today) -> Mails:
    """Draw who is sent a mail, who opens it and whose proxy does, and when."""
    members, day, rows = today.world.members, today.offer.day, today.rows
    turn = (today.key % np.uint64(7)).astype(np.int64) == weekday(day)
    sent = today.state.subscribed[rows] & (members.mailed_daily[rows] | turn)
    gone_off = np.float32(0.04) * today.state.tired[rows]
    opens = chance(members.openness[rows] - gone_off + np.float32(0.1) * (weekday(day) < 5))
    opened = sent & (draw(today.key, Luck.OPEN, 0, day) < opens)
    proxied = np.flatnonzero(sent & members.proxy[rows])
    proxied = proxied[draw(today.key[proxied], Luck.PROXY, 0, day) < PROXY_OPENS]
    luck = draw(today.key[opened], Luck.OPEN, 1, day)
    soon = (draw(today.key[proxied], Luck.PROXY, 1, day) * 20 * MINUTE).astype(np.int64)
    opened_at, proxied_at = np.zeros((2, len(rows)), dtype=np.int64)
    opened_at[opened] = today.instants(_quantile(_OPEN_HOURS, luck))
    proxied_at[proxied] = today.offer.at + soon
    return Mails(
        sent=sent,
        opened=opened,
        proxied=proxied_at > 0,
        opened_at=opened_at,
        proxied_at=proxied_at,
    )


def flags(today: Today, *, places: I64, machine: Bool) -> Bool:
    """Draw which opened mails the shop takes for a machine's; `places` are those in the block."""
    key, day = today.key[places], today.offer.day
    found = draw(key, Luck.PROXY, 2, day) < PROXY_FOUND
    return np.where(machine, found, draw(key, Luck.PROXY, 3, day) < WRONGLY_FOUND)


def _quantile(table: F64, numbers: F32) -> F64:
    """Look a share up in a table of quantiles, with a straight line between its entries."""
    place = numbers.astype(np.float64) * _GRAIN
    lower = place.astype(np.int64)
    return table[lower] + (place - lower) * (table[lower + 1] - table[lower])
