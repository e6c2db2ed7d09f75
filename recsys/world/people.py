"""What the shop knows of its members: demographics and wishes that go with taste, not decide it."""

from __future__ import annotations

import numpy as np
import polars as pl

from recsys.domain.arrays import F32, I64, NONE, U8, Bool
from recsys.domain.ties import keyed
from recsys.world.draws import U64, Luck, draw, draws
from recsys.world.records import blurred, instants, lists, named
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


def member_features(world: World, state: State, *, ids: pl.Series) -> pl.DataFrame:
    """Return the members who have joined, one row each, with what they and the shop filled in."""
    members = world.members
    rows = np.flatnonzero(members.joined_day < state.day)
    key = members.key[rows]
    cluster = members.cluster[rows, 0]
    gender = np.where(members.woman[rows], "woman", "man")
    device = np.where(members.phone[rows] > 0.5, "phone", "desktop")
    referred = members.referrer[rows] != NONE
    way = np.where(referred, 3, np.floor(draw(key, Luck.FEATURE, 0) * 3)).astype(np.int64)
    rich = np.digitize(members.level[rows], [-0.6, 0.4, 1.1])
    return pl.DataFrame({
        "member": ids.gather(rows),
        "joined_at": instants(members.joined_at(world.noon(0))[rows]),
        "consent_personalise": members.consent_personalise[rows],
        "consent_mail": state.subscribed[rows],
        "gender": blurred(gender, key, Luck.FEATURE, 11),
        "age_band": blurred(_going_with(cluster, key, names=AGES, field=2), key, Luck.FEATURE, 12),
        "region": blurred(_going_with(cluster, key, names=REGIONS, field=3), key, Luck.FEATURE, 13),
        "device": blurred(device, key, Luck.FEATURE, 14),
        "came_by": blurred(np.array(WAYS)[way], key, Luck.FEATURE, 15),
        "preferences": _preferences(members.need[rows], key),
        "follows": _follows(world, rows, key=key),
        "income_band": blurred(np.array(INCOMES)[rich], key, Luck.FEATURE, 16),
        "has_children": blurred(np.where(members.parent[rows], "yes", "no"), key, Luck.FEATURE, 17),
    })


def _going_with(cluster: U8, key: U64, *, names: tuple[str, ...], field: int) -> np.ndarray:
    """Draw a value that goes with the first taste for `FROM_TASTE` of the members."""
    luck = draws(key, 2, Luck.FEATURE, 20 + field)
    shares = AGE_SHARES if names is AGES else np.full(len(names), 1 / len(names))
    drawn = np.searchsorted(np.cumsum(shares), luck[:, 1]).clip(max=len(names) - 1)
    home = (keyed(field, cluster) % np.uint64(len(names))).astype(np.int64)
    return np.array(names)[np.where(luck[:, 0] < FROM_TASTE, home, drawn)]


def _preferences(need: F32, key: U64) -> pl.Series:
    """Return the categories a member ticked on joining: of needed departments, a few; or none."""
    homes = np.array([home for _, home, _ in CATEGORIES])
    luck = draws(key, len(CATEGORIES) + 1, Luck.FEATURE, 30)
    ticks = (luck[:, 1:] < 0.3 * (need[:, homes] > 0.5)) & (luck[:, :1] < 0.6)
    return _bags(ticks, [name for name, _, _ in CATEGORIES])


def _follows(world: World, rows: I64, *, key: U64) -> pl.Series:
    """Return brands a member follows since before the start: some of those bought."""
    known = world.start.known[rows]
    luck = draws(key, known.shape[1] + 1, Luck.FEATURE, 31)
    ticks = (luck[:, 1:] < 0.25) & (luck[:, :1] < 0.5) & (known != NONE)
    row, slot = np.nonzero(ticks)
    names = pl.Series(world.brands.names, dtype=pl.String).gather(known[row, slot])
    return lists(row, names, count=len(rows))


def _bags(ticks: Bool, names: list[str]) -> pl.Series:
    row, column = np.nonzero(ticks)
    return lists(row, named(column, names), count=len(ticks))
