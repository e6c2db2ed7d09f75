"""What the shop knows of its members: demographics and wishes that go with taste, not decide it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import polars as pl

from recsys.domain.arrays import F32, I64, NONE, Bool
from recsys.domain.ties import keyed
from recsys.world.draws import U64, Luck, draw, draws
from recsys.world.lived import taken
from recsys.world.members import Members
from recsys.world.records import MISSING, WRONG, absent, instants, lists, named
from recsys.world.retailer import World
from recsys.world.state import State
from recsys.world.words import CATEGORIES

AGES = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
AGE_SHARES = (0.1, 0.24, 0.26, 0.2, 0.13, 0.07)
REGIONS = ("North", "Capital", "West", "South", "Coast", "East", "Hills", "Abroad")
INCOMES = ("low", "middle", "high", "very high")
WAYS = ("search", "advert", "partner", "referral")
FROM_TASTE = 0.35
"""Part of the members whose age and region go with their first taste."""


def member_features(world: World, state: State, rows: I64, *, ids: pl.Series) -> pl.DataFrame:
    """Return some members who have joined, one row each, with what they and the shop filled in.

    rows: of the world, ascending; `joined` tells how many have joined. ids: theirs.
    """
    own = taken(world.members, rows)
    told = {
        name: _told(world.members, rows, field, count=joined(world, state))
        for name, field in _FIELDS.items()
    }
    return pl.DataFrame({
        "member": ids,
        "joined_at": instants(own.joined_at(world.noon(0))),
        "consent_personalise": own.consent_personalise,
        "consent_mail": state.subscribed[rows],
        **{name: told[name] for name in _BEFORE_BAGS},
        "preferences": _preferences(own.need, own.key),
        "follows": _follows(replace(world, members=own)),
        "income_band": told["income_band"],
        "has_children": told["has_children"],
    })


def joined(world: World, state: State) -> int:
    """Count the members who have joined: they are the first of all."""
    return int(np.searchsorted(world.members.joined_day, state.day))


@dataclass(frozen=True)
class _Field:
    """A field that a member fills in."""

    names: tuple[str, ...]
    code: Callable[[Members], I64]
    """Which of the names is true of each member."""
    luck: int
    """Number of the luck that loses it, or puts another member's in its place."""


def _going_with(names: tuple[str, ...], luck_of: int) -> Callable[[Members], I64]:
    """Return what draws a value that goes with the first taste for `FROM_TASTE` of the members."""

    def code(members: Members) -> I64:
        luck = draws(members.key, 2, Luck.FEATURE, 20 + luck_of)
        shares = AGE_SHARES if names is AGES else np.full(len(names), 1 / len(names))
        drawn = np.searchsorted(np.cumsum(shares), luck[:, 1]).clip(max=len(names) - 1)
        home = keyed(luck_of, members.cluster[:, 0]) % np.uint64(len(names))
        return np.where(luck[:, 0] < FROM_TASTE, home.astype(np.int64), drawn)

    return code


def _way(members: Members) -> I64:
    """Return by which of `WAYS` members came."""
    way = np.floor(draw(members.key, Luck.FEATURE, 0) * 3).astype(np.int64)
    return np.where(members.referrer == NONE, way, WAYS.index("referral"))


_FIELDS = MappingProxyType({
    "gender": _Field(("man", "woman"), lambda of: of.woman.astype(np.int64), 11),
    "age_band": _Field(AGES, _going_with(AGES, 2), 12),
    "region": _Field(REGIONS, _going_with(REGIONS, 3), 13),
    "device": _Field(("desktop", "phone"), lambda of: (of.phone > 0.5).astype(np.int64), 14),
    "came_by": _Field(WAYS, _way, 15),
    "income_band": _Field(INCOMES, lambda of: np.digitize(of.level, [-0.6, 0.4, 1.1]), 16),
    "has_children": _Field(("no", "yes"), lambda of: of.parent.astype(np.int64), 17),
})
_BEFORE_BAGS = ("gender", "age_band", "region", "device", "came_by")


def _told(members: Members, rows: I64, field: _Field, *, count: int) -> pl.Series:
    """Return a field of some members: lost for `MISSING`, another's of the `count` for `WRONG`."""
    luck = draws(members.key[rows], 2, Luck.FEATURE, field.luck)
    codes = field.code(taken(members, rows))
    wrong = np.flatnonzero(luck[:, 0] > 1 - WRONG)
    other = np.floor(luck[wrong, 1] * count).astype(np.int64)
    codes[wrong] = field.code(taken(members, other))
    return absent(named(codes, list(field.names)), luck[:, 0] < MISSING)


def _preferences(need: F32, key: U64) -> pl.Series:
    """Return the categories a member ticked on joining: of needed departments, a few; or none."""
    homes = np.array([home for _, home, _ in CATEGORIES])
    luck = draws(key, len(CATEGORIES) + 1, Luck.FEATURE, 30)
    ticks = (luck[:, 1:] < 0.3 * (need[:, homes] > 0.5)) & (luck[:, :1] < 0.6)
    return _bags(ticks, [name for name, _, _ in CATEGORIES])


def _follows(world: World) -> pl.Series:
    """Return brands a member follows since before the start: some of those bought."""
    known = world.start.known
    luck = draws(world.members.key, known.shape[1] + 1, Luck.FEATURE, 31)
    ticks = (luck[:, 1:] < 0.25) & (luck[:, :1] < 0.5) & (known != NONE)
    row, slot = np.nonzero(ticks)
    names = pl.Series(world.brands.names, dtype=pl.String).gather(known[row, slot])
    return lists(row, names, count=len(known))


def _bags(ticks: Bool, names: list[str]) -> pl.Series:
    row, column = np.nonzero(ticks)
    return lists(row, named(column, names), count=len(ticks))
