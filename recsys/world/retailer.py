"""The retailer: its brands, sales and members, and what is on offer on a day."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from recsys.domain.arrays import F32, I16, I64, NONE
from recsys.world.brands import Brands, make_brands
from recsys.world.clock import noons, season
from recsys.world.draws import U32, on_grid
from recsys.world.members import Joining, Members, make_members, members_at
from recsys.world.sales import Sales, make_sales
from recsys.world.spec import FlashSales
from recsys.world.state import State, first_state
from recsys.world.words import DEPARTMENTS

PRICE_GAP = 0.35
DEAL = 1.2
HIDDEN = 0.75
IN_SEASON, OFF_SEASON = 0.15, -0.3


@dataclass(frozen=True)
class World:
    """Everything that does not change while days are played."""

    spec: FlashSales
    noons: I64
    """Local noons, UTC us; the noon of day d is at d + 1."""
    brands: Brands
    sales: Sales
    members: Members

    @property
    def num_days(self) -> int:
        """Count the days that can be played."""
        return len(self.noons) - 4

    def noon(self, day: int) -> int:
        """Return the noon at which a day begins, UTC us."""
        return int(self.noons[day + 1])

    def day_of(self, at: int) -> int:
        """Return the day an instant (UTC us) lies in."""
        return int(np.searchsorted(self.noons, at, side="right")) - 2

    @cached_property
    def start(self) -> State:
        """The state at the noon of day 0."""
        return first_state(self.brands, self.sales, self.members)


def make_world(spec: FlashSales, *, days: int = 0) -> World:
    """Make a world that can be played for `days` (0 = as the settings say)."""
    members = make_members(spec, days=spec.num_days)
    return replace(make_shop(spec, days=days), members=members)


def make_shop(spec: FlashSales, *, days: int = 0) -> World:
    """Make a world that has no members yet: what all blocks of members have in common."""
    days = days or spec.num_days
    at = noons(spec.zone, days)
    brands = make_brands(spec, days=spec.num_days)
    return World(
        spec=spec,
        noons=at,
        brands=brands,
        sales=make_sales(spec, brands, noons=at),
        members=members_at(spec, np.zeros(0, dtype=np.int64), joins=Joining.nobody()),
    )


@dataclass(frozen=True)
class Offer:
    """The s sales that are open and in stock at an instant, as the utility needs them."""

    at: int
    day: int
    rows: I64
    """Sale rows, ascending, I64[s]."""
    style: F32
    """F32[18, s]: a point of taste times this is minus the squared distance."""
    terms: F32
    """F32[len(TRAITS), s]: a member's traits times this is all that is bilinear."""
    column_of_brand: I16
    """Column of each brand's open sale, or NONE, I16[b + 1], the last for no brand."""
    column_of_sale: I16
    """Column of each sale, or NONE where it is not on offer, I16[sales + 1], the last for NONE."""
    closes_in: I64
    """Microseconds from `at` to closing, I64[s]."""
    luck: U32
    """Key of each sale's luck, U32[s]."""

    def __len__(self) -> int:
        """Count the sales."""
        return len(self.rows)

    def columns(self, sales: np.ndarray) -> I16:
        """Return the column of each sale row, NONE where it is not on offer."""
        return self.column_of_sale.take(sales)


def offer(world: World, rows: I64, *, at: int, visible: bool = False) -> Offer:
    """Lay out given sales at an instant; `visible` leaves hidden appeal out."""
    sales = world.sales
    style = sales.style[rows]
    squared = (style**2).sum(axis=1)
    brand = sales.brand[rows]
    column = np.full(len(world.brands) + 1, NONE, dtype=np.int16)
    column[brand] = np.arange(len(rows))
    column_of_sale = np.full(len(sales) + 1, NONE, dtype=np.int16)
    column_of_sale[rows] = np.arange(len(rows))
    return Offer(
        at=at,
        day=world.day_of(at),
        rows=rows,
        style=np.concatenate([2 * style.T, np.full((1, len(rows)), -1), -squared[None]]).astype(
            np.float32
        ),
        terms=_terms(world, rows, at=at, visible=visible),
        column_of_brand=column,
        column_of_sale=column_of_sale,
        closes_in=sales.closes_at[rows] - at,
        luck=(sales.key[rows] >> np.uint64(32)).astype(np.uint32),
    )


def _terms(world: World, rows: I64, *, at: int, visible: bool) -> F32:
    """Return what multiplies need, level, one and sensitivity of a member, on the grid."""
    sales = world.sales
    level = sales.level[rows]
    now = season(world.day_of(at))
    fits = np.where(sales.season[rows] == now, IN_SEASON, OFF_SEASON)
    bias = np.where(sales.season[rows] == 0, 0.0, fits) - PRICE_GAP / 2 * level**2
    if not visible:
        bias = bias + HIDDEN * sales.hidden[rows]
    home = world.brands.department[sales.brand[rows]]
    return on_grid(
        np.concatenate([
            (np.arange(len(DEPARTMENTS))[:, None] == home).astype(np.float32),
            (PRICE_GAP * level)[None],
            bias[None],
            (DEAL * (sales.discount[rows] - 0.45))[None],
        ]).astype(np.float32)
    )


def open_sales(world: World, state: State, *, at: int) -> I64:
    """Return the sales that are open and in stock at an instant, ascending rows I64[s]."""
    sales = world.sales
    is_open = (sales.opens_at <= at) & (at < sales.closes_at) & (state.sold_out_at > at)
    return np.flatnonzero(is_open)
