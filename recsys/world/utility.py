"""How much each member likes each sale on offer: the one formula that play and truth share."""

from __future__ import annotations

import numpy as np

from recsys.domain.arrays import F32, I64
from recsys.world.brands import REACH, STYLE_DIMS
from recsys.world.draws import on_grid
from recsys.world.members import TASTES
from recsys.world.retailer import PRICE_GAP, Offer, World
from recsys.world.state import KNOWN, SLOTS, State

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
    # here and below: numpy's take is several times faster than the same by brackets
    weight = world.members.weight.take(rows, axis=0)
    centres = world.brands.centres.take(world.members.cluster.take(rows, axis=0), axis=0)
    own = world.members.own(rows, day=offer.day)
    total = _bump(offer, centres[:, 0] + own, weight[:, 0])
    for taste in range(1, TASTES):
        has = np.flatnonzero(weight[:, taste])
        points = centres[:, taste].take(has, axis=0)
        points += own.take(has, axis=0)
        total[has] += _bump(offer, points, weight[has, taste])
    return total


def _bump(offer: Offer, points: F32, weight: F32) -> F32:
    """Return the bump of one taste of each of k members at each sale, F32[k, s]."""
    wide = np.empty((len(points), STYLE_DIMS + 2), dtype=np.float32)
    near = on_grid(points)
    wide[:, :STYLE_DIMS] = near
    wide[:, STYLE_DIMS] = np.einsum("kd,kd->k", near, near)
    wide[:, STYLE_DIMS + 1] = 1
    bump: F32 = wide @ offer.style
    bump *= np.float32(1 / (2 * REACH))
    np.exp(bump, out=bump)
    bump *= weight[:, None]
    return bump


def _traits(world: World, rows: I64, *, day: int) -> F32:
    """Return need, level of price, one and sensitivity of members, F32[m, 7] on the grid."""
    members = world.members
    needs = members.needs(rows, day=day)
    traits = np.ones((len(rows), needs.shape[1] + 3), dtype=np.float32)
    traits[:, :-3] = np.where(needs, np.float32(0), np.float32(UNWANTED))
    traits[:, -3] = members.level[rows]
    traits[:, -1] = members.sensitivity[rows]
    return on_grid(traits)


def _known(liked: F32, world: World, *, state: State, offer: Offer, rows: I64) -> None:
    """Add what the unknown costs or charms; where the brand is known, how it pleased instead."""
    members = world.members
    level = members.level[rows]
    charm = np.float32(CHARM) * members.appetite[rows] - np.float32(TRUST)
    liked += (charm - np.float32(PRICE_GAP / 2) * level**2)[:, None]
    column = offer.column_of_brand.take(state.known.take(rows, axis=0))
    known = np.flatnonzero(column >= 0)
    member = known // KNOWN
    like = state.like.ravel().take(rows[member] * KNOWN + known % KNOWN)
    cell = member * len(offer) + column.ravel()[known]
    liked.ravel()[cell] += np.float32(LIKING) * like - charm[member]


def _worn(liked: F32, state: State, *, offer: Offer, rows: I64) -> None:
    """Take away what showings without response cost."""
    column = offer.columns(state.shown.take(rows, axis=0))
    shown = np.flatnonzero(column >= 0)
    times = state.shown_times.take(rows, axis=0).ravel()[shown]
    cell = shown // SLOTS * len(offer) + column.ravel()[shown]
    liked.ravel()[cell] -= np.float32(WORN) * times


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
