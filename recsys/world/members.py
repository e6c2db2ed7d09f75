"""Members: tastes, needs, purse, appetite for the new, and habits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, I32, I64, U8, Bool
from recsys.domain.events import HOUR
from recsys.domain.ties import keyed, splitmix64
from recsys.world.brands import NUM_CLUSTERS, STYLE_DIMS, cluster_shares
from recsys.world.draws import U64, Luck, draw, draws, normals
from recsys.world.spec import FlashSales

TASTES = 3
JOINING_SHARE = 0.05
"""Part of the members who join on the way."""
LEAVING_A_MONTH = 0.02
NEED_DAYS = 45
"""Needs may switch on or off once in so many days."""
FOREVER = 10_000_000
OLDEST = 1_400
"""Days before day 0 on which the first members joined."""
_AT_A_TIME = 65_536


@dataclass(frozen=True)
class Members:
    """n members in order of joining; nothing here is shown but through `tables`."""

    key: U64
    joined_day: I32
    left_day: I32
    referrer: I32
    """Who brought this member, or NONE, I32[n]."""
    cluster: U8
    """Style clusters of up to three tastes, U8[n, 3]."""
    weight: F32
    """Weight of each taste, F32[n, 3]; 0 where there are fewer."""
    offset: F32
    """Own offset from the centres, F32[n, 16]."""
    drift: F32
    """Change of the offset in 30 days, F32[n, 16]."""
    need: F32
    """Chance that each department is needed, F32[n, 4]."""
    level: F32
    """Level of price that suits, F32[n]."""
    sensitivity: F32
    """How much a discount matters, F32[n]."""
    appetite: F32
    """Charm of the new, standard normal, F32[n]."""
    rate: F32
    """Visits a day, F32[n]."""
    awake: Bool
    openness: F32
    """Log-odds of opening a mail, F32[n]."""
    mailed_daily: Bool
    phone: F32
    """Share of visits by phone, F32[n]."""
    proxy: Bool
    """A privacy proxy opens this member's mails, Bool[n]."""
    in_shop: Bool
    """Also buys in a shop, under another id, Bool[n]."""
    woman: Bool
    parent: Bool
    consent_personalise: Bool
    consent_mail: Bool

    def __len__(self) -> int:
        """Count the members."""
        return len(self.key)

    def joined_at(self, first_noon: int) -> I64:
        """Return when each joined, I64[n] UTC us; `first_noon` is the noon of day 0."""
        within = draw(self.key, Luck.HABIT, 20).astype(np.float64)
        days = self.joined_day + np.where(self.joined_day < 0, within, 0.0)
        return (first_noon + days * 24 * HOUR).astype(np.int64)

    def needs(self, rows: I64, *, day: int) -> Bool:
        """Return which departments are needed on a day, Bool[m, 4]: life switches them."""
        key = self.key[rows]
        phase = (key % np.uint64(NEED_DAYS)).astype(np.int64)
        period = ((day + NEED_DAYS + phase) // NEED_DAYS).astype(np.uint64)
        luck = draws(key ^ splitmix64(period), self.need.shape[1], Luck.NEED)
        needed: Bool = luck < self.need.take(rows, axis=0)
        return needed

    def own(self, rows: I64, *, day: int) -> F32:
        """Return where members stand from the centres of their tastes, F32[m, 16]."""
        moved: F32 = self.drift.take(rows, axis=0)
        moved *= np.float32(day / 30)
        moved += self.offset.take(rows, axis=0)
        return moved


@dataclass(frozen=True)
class Joining:
    """When members join: the one thing about a member that depends on all the others."""

    count: int
    """Members of the world."""
    days: int
    """Days on which the last of them join."""
    before: I64
    """Members who joined up to 1,400, 1,399, .. 1 days before day 0, I64[1400]."""

    @classmethod
    def nobody(cls) -> Joining:
        """Return the joining of a world without members."""
        return cls(count=0, days=0, before=np.zeros(OLDEST, dtype=np.int64))

    def day(self, rows: I64) -> I32:
        """Return the day each member joins; the last members join evenly on the way."""
        late = int(JOINING_SHARE * self.count)
        first = self.count - late
        joined = np.searchsorted(self.before, rows, side="right") - OLDEST
        on_the_way = (rows - first) * self.days // max(late, 1)
        return np.where(rows < first, joined, on_the_way).astype(np.int32)


def joining(spec: FlashSales, *, days: int) -> Joining:
    """Count who joined when, some members at a time."""
    count = spec.num_members
    counts = np.zeros(OLDEST, dtype=np.int64)
    for first in range(0, count, _AT_A_TIME):
        key = keyed(spec.seed, Luck.MEMBER, np.arange(first, min(first + _AT_A_TIME, count)))
        ago = np.floor(OLDEST * draw(key, Luck.HABIT, 2) ** 1.5).astype(np.int64)
        counts += np.bincount(OLDEST - 1 - ago, minlength=OLDEST)
    return Joining(count=count, days=days, before=np.cumsum(counts))


def make_members(spec: FlashSales, *, days: int) -> Members:
    """Make all members of a world; days are those on which the last of them join."""
    rows = np.arange(spec.num_members)
    return members_at(spec, rows, joins=joining(spec, days=days))


def members_at(spec: FlashSales, rows: I64, *, joins: Joining) -> Members:
    """Make the members of given rows; a referred one resembles who brought them."""
    key = keyed(spec.seed, Luck.MEMBER, rows)
    joined = joins.day(rows)
    referrer = _referrers(key, rows)
    brought = np.flatnonzero(referrer >= 0)
    like = key.copy()
    like[brought] = keyed(spec.seed, Luck.MEMBER, referrer[brought])
    cluster, weight = _tastes(key, like, seed=spec.seed)
    own = normals(key, STYLE_DIMS, Luck.OFFSET)
    theirs = own.copy()
    theirs[brought] = normals(like[brought], STYLE_DIMS, Luck.OFFSET)
    luck = draws(key, 10, Luck.HABIT)
    traits = normals(key, 7, Luck.HABIT, 1)
    woman, parent = luck[:, 0] < 0.65, luck[:, 1] < 0.35
    awake = luck[:, 2] < 0.47
    rate = np.where(awake, 0.66 * np.exp(1.0 * traits[:, 0]), 0.003).astype(np.float32)
    habit = np.where(awake, -1.15, -3.0) + 0.8 * traits[:, 1] + 0.35 * traits[:, 0]
    return Members(
        key=key,
        joined_day=joined,
        left_day=_leaving(key, joined),
        referrer=referrer,
        cluster=cluster,
        weight=weight,
        offset=(0.6 * theirs + 0.8 * own) * np.float32(0.3),
        drift=normals(key, STYLE_DIMS, Luck.DRIFT) * np.float32(0.08),
        need=_needs(woman, parent, traits[:, 2]),
        level=(0.8 * traits[:, 3]).astype(np.float32),
        sensitivity=np.exp(0.4 * traits[:, 4]).astype(np.float32),
        appetite=traits[:, 5],
        rate=np.minimum(rate, 4),
        awake=awake,
        openness=habit.astype(np.float32),
        mailed_daily=awake | (luck[:, 3] < 0.15),
        phone=np.clip(0.6 + 0.25 * traits[:, 6], 0.02, 0.98).astype(np.float32),
        proxy=luck[:, 4] < 0.14,
        in_shop=luck[:, 5] < 1 / 3,
        woman=woman,
        parent=parent,
        consent_personalise=luck[:, 6] >= 0.03,
        consent_mail=luck[:, 7] >= 0.06,
    )


def _leaving(key: U64, joined: I32) -> I32:
    """Return the day each member leaves."""
    month = np.floor(-np.log1p(-draw(key, Luck.HABIT, 3)) / LEAVING_A_MONTH * 30)
    left = np.minimum(np.maximum(joined, 0) + 1 + month, FOREVER)
    day: I32 = left.astype(np.int32)
    return day


def _referrers(key: U64, rows: I64) -> I32:
    """Return who brought each member: a fifth were brought by an earlier one."""
    luck = draws(key, 2, Luck.HABIT, 4)
    earlier = np.floor(luck[:, 1].astype(np.float64) * rows).astype(np.int32)
    brought = (luck[:, 0] < 0.2) & (rows > 0)
    return np.where(brought, earlier, np.int32(-1)).astype(np.int32)


def _tastes(key: U64, like: U64, *, seed: int) -> tuple[U8, F32]:
    """Draw one to three style clusters, the first from the luck of who is resembled."""
    luck = draws(key, TASTES, Luck.TASTE)
    luck[:, 0] = draw(like, Luck.TASTE, 1)
    bounds = np.cumsum(cluster_shares(seed))
    cluster = np.searchsorted(bounds, luck).clip(max=NUM_CLUSTERS - 1).astype(np.uint8)
    how_many = 1 + np.floor(draw(key, Luck.TASTE, 2) * TASTES)
    weight = np.where(np.arange(TASTES) < how_many[:, None], np.array([1, 0.8, 0.6]), 0)
    return cluster, weight.astype(np.float32)


def _needs(woman: Bool, parent: Bool, homely: F32) -> F32:
    """Return the chance that each department is needed, F32[n, 4]."""
    return np.stack(
        [
            np.where(woman, 0.95, 0.25),
            np.where(woman, 0.25, 0.92),
            np.clip(0.4 + 0.25 * homely, 0.05, 0.95),
            np.where(parent, 0.85, 0.1),
        ],
        axis=1,
    ).astype(np.float32)
