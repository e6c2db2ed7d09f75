"""How much each member likes each sale on offer: the one formula that play and truth share."""

from __future__ import annotations

import numpy as np

from recsys.domain.arrays import F32, I64
from recsys.world.brands import REACH, STYLE_DIMS
from recsys.world.draws import on_grid
from recsys.world.members import TASTES
from recsys.world.retailer import PRICE_GAP, Offer, World
from recsys.world.state import State

MATCH = 5.2
"""Weight of the bumps of taste."""
UNWANTED = -3.0
"""Log-odds of a department that the member does not need."""
TRUST = 2.4
"""What an unknown brand costs."""
CHARM = 0.42
"""What a standard deviation of appetite adds to an unknown brand."""
LIKING = 0.8
WORN = 0.35
"""What each showing without response costs."""

PAGE = 1.8
"""Log-odds against a view of a sale that is looked at on the page, at utility 0."""
MAIL = 2.7
"""The same for a click in the mail."""
CART = 3.9
PHONE_DROP = 0.9
"""Log-odds by which phones drop more carts."""


def utility(world: World, state: State, offer: Offer, *, rows: I64) -> F32:
    """Return the log-odds of interest of members (ascending rows I64[m]), F32[m, s].

    A bump exp(-d^2 / (2 REACH)) for each taste, traits times terms, then what a member knows of
    brands and how often a sale was shown in vain.
    """
    liked = _match(world, offer, rows)
    liked *= np.float32(MATCH)
    liked += _traits(world, rows, day=offer.day) @ offer.terms
    _known(liked, world, state=state, offer=offer, rows=rows)
    _worn(liked, state, offer=offer, rows=rows)
    return liked


def _match(world: World, offer: Offer, rows: I64) -> F32:
    """Sum the bumps of each member's tastes at each sale, F32[m, s]."""
    points = world.members.points(rows, world.brands.centres, day=offer.day)
    wide = np.empty((TASTES, len(rows), STYLE_DIMS + 2), dtype=np.float32)
    wide[:, :, :STYLE_DIMS] = points.transpose(1, 0, 2)
    wide[:, :, STYLE_DIMS] = (points**2).sum(axis=2).T
    wide[:, :, STYLE_DIMS + 1] = 1
    weight = world.members.weight[rows]
    total = np.zeros((len(rows), len(offer)), dtype=np.float32)
    for taste in range(TASTES):
        has = np.flatnonzero(weight[:, taste] > 0) if taste else slice(None)
        bump = wide[taste][has] @ offer.style
        bump *= np.float32(1 / (2 * REACH))
        np.exp(bump, out=bump)
        bump *= weight[has, taste, None]
        total[has] += bump
    return total


def _traits(world: World, rows: I64, *, day: int) -> F32:
    """Return need, level of price, one and sensitivity of members, F32[m, 7] on the grid."""
    members = world.members
    unwanted = np.where(members.needs(rows, day=day), 0.0, UNWANTED)
    ones = np.ones((len(rows), 1))
    level, deal = members.level[rows, None], members.sensitivity[rows, None]
    return on_grid(np.concatenate([unwanted, level, ones, deal], axis=1).astype(np.float32))


def _known(liked: F32, world: World, *, state: State, offer: Offer, rows: I64) -> None:
    """Add what the unknown costs or charms; where the brand is known, how it pleased instead."""
    members = world.members
    level = members.level[rows]
    charm = np.float32(CHARM) * members.appetite[rows] - np.float32(TRUST)
    liked += (charm - np.float32(PRICE_GAP / 2) * level**2)[:, None]
    column = offer.column_of_brand[state.known[rows]]
    member, slot = np.nonzero(column >= 0)
    pleased = np.float32(LIKING) * state.like[rows[member], slot]
    liked[member, column[member, slot]] += pleased - charm[member]


def _worn(liked: F32, state: State, *, offer: Offer, rows: I64) -> None:
    """Take away what showings without response cost."""
    shown = state.shown[rows]
    column = np.where(shown >= 0, offer.columns(shown), -1)
    member, slot = np.nonzero(column >= 0)
    times = state.shown_times[rows[member], slot]
    liked[member, column[member, slot]] -= np.float32(WORN) * times


def chance(log_odds: F32) -> F32:
    """Turn log-odds into chances, F32 of the same shape."""
    odds_against: F32 = np.exp(-log_odds)
    return np.float32(1) / (np.float32(1) + odds_against)


def cart_log_odds(liked: F32) -> F32:
    """Return the log-odds that a viewed sale goes into the cart."""
    return np.float32(0.6) * liked - np.float32(CART)


def purchase_log_odds(liked: F32, phone: F32) -> F32:
    """Return the log-odds that a cart is bought, lower on phones (1 = by phone, F32)."""
    return np.float32(0.25) * liked + np.float32(0.2) - np.float32(PHONE_DROP) * phone
