"""The slate of those of whom nothing may be known: editors' picks first, then the newest."""

from __future__ import annotations

import numpy as np

from recsys.campaign.keys import U64, eligible_hash
from recsys.campaign.slate_log import Offered
from recsys.domain.arrays import I64, NONE, Bool
from recsys.domain.shelf import Shelf
from recsys.domain.shop import Shop
from recsys.domain.slates import PARTS, Reason, Slates
from recsys.domain.ties import keyed


def for_all(shop: Shop, shelf: Shelf, *, slots: int, banned: Bool | None = None) -> I64:
    """Return columns of the shelf, the same for everybody, at most `slots`.

    `banned` Bool[s] of the shelf are shown to nobody; None = none is.
    """
    opened = shop.opens_at[shelf.sales]
    order = np.lexsort((keyed(0, shelf.sales), -opened, ~shelf.curated))
    allowed = order if banned is None else order[~banned[order]]
    return allowed[:slots]


def plain_slates(members: I64, shop: Shop, shelf: Shelf, *, slots: int, banned: Bool) -> Slates:
    """Return that slate for member rows I64[m]; no score speaks for it, and none is logged."""
    columns = for_all(shop, shelf, slots=slots, banned=banned)
    sales = np.full(slots, NONE, dtype=np.int64)
    sales[: len(columns)] = shelf.sales[columns]
    reason = np.full(slots, Reason.NOTHING, dtype=np.uint8)
    reason[: len(columns)][shelf.curated[columns]] = Reason.CURATOR_PICK
    shape = (len(members), slots)
    return Slates(
        members=members,
        sales=np.tile(sales, (len(members), 1)),
        parts=np.zeros((*shape, len(PARTS)), dtype=np.float32),
        margin=np.zeros(shape, dtype=np.float32),
        log_propensity=np.zeros(shape, dtype=np.float32),
        reason=np.tile(reason, (len(members), 1)),
        evidence=np.full(shape, NONE, dtype=np.int64),
        flags=np.zeros(shape, dtype=np.uint8),
    )


def plainly_offered(num: int, keys: U64, *, slots: int, banned: Bool) -> Offered:
    """Return what stands beside these slates; `keys` U64[s] are of the shelf's sales."""
    shown = ~banned[None, :]
    return Offered(
        new=np.zeros((num, slots), dtype=np.float32),
        eligible_count=np.full(num, int(shown.sum())),
        eligible_hash=np.repeat(eligible_hash(keys[None, :], shown), num),
        rule=np.full((num, slots), NONE, dtype=np.int32),
        dial=np.full(num, np.nan, dtype=np.float32),
        dial_own=np.full(num, np.nan, dtype=np.float32),
        context=np.full(num, NONE, dtype=np.int64),
    )
