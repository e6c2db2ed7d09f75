"""Stock that all members share: purchases that are tried are served in order of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import I64, Bool
from recsys.world.lived import MINUTE, Pairs
from recsys.world.log import Settled
from recsys.world.retailer import World
from recsys.world.state import NEVER


@dataclass(frozen=True)
class Attempts:
    """a purchases that are tried on one day: all that has to be known of everybody at once."""

    member: I64
    sale: I64
    at: I64
    new: Bool
    """The brand was not known to the member."""


@dataclass(frozen=True)
class Served:
    """What came of them: a attempts, s sales."""

    bought: Bool
    """Bool[a]."""
    stock_left: I64
    sold_out_at: I64


def attempts(pairs: Pairs) -> Attempts:
    """Return the purchases that are tried, in the order of the pairs."""
    tried = np.flatnonzero(pairs.buy_at != NEVER)
    return Attempts(
        member=pairs.member[tried],
        sale=pairs.sale[tried],
        at=pairs.buy_at[tried],
        new=pairs.new[tried],
    )


def serve(tried: Attempts, *, stock_left: I64, sold_out_at: I64) -> Served:
    """Serve the attempts at each sale in order of time until its stock is gone."""
    order = np.lexsort((tried.member, tried.at, tried.sale))
    sale = tried.sale[order]
    rank = np.arange(len(sale)) - np.searchsorted(sale, sale)
    left = stock_left[sale]
    bought = np.zeros(len(sale), dtype=np.bool_)
    bought[order] = rank < left
    gone_at = sold_out_at.copy()
    last = rank == left - 1
    gone_at[sale[last]] = tried.at[order[last]]
    return Served(
        bought=bought,
        stock_left=stock_left - np.bincount(sale[rank < left], minlength=len(stock_left)),
        sold_out_at=gone_at,
    )


def settled(world: World, pairs: Pairs, served: Served, *, day: int) -> Settled:
    """Return what stock allowed to some members, whose attempts alone `served.bought` speaks of."""
    bought = np.zeros(len(pairs.sale), dtype=np.bool_)
    bought[np.flatnonzero(pairs.buy_at != NEVER)] = served.bought
    gone = served.sold_out_at[pairs.sale]
    late = pairs.at + MINUTE // 2
    closes = np.minimum(world.sales.closes_at[pairs.sale], world.noon(day + 1))
    return Settled(
        bought=bought,
        carted=(pairs.cart_at != NEVER) & (pairs.cart_at <= gone),
        waits=pairs.waits & (gone < late) & (late < closes),
        stock_left=served.stock_left,
        sold_out_at=served.sold_out_at,
    )
