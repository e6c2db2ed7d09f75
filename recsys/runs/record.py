"""A day of the built-in world in, what the shop then has on record out, without reading it anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from recsys.domain.arrays import I64, NONE, Bool
from recsys.domain.dataset import Dataset
from recsys.domain.events import KIND_WEIGHTS, Channel, Events
from recsys.domain.shown import Shown
from recsys.world.log import FLAG_FOUND, Log
from recsys.world.truth import SHOP_ID, Truth

CUSTOMER = SHOP_ID.removesuffix("k")
"""What the data contract puts before the id of a shop customer whom no member claims."""


@dataclass(frozen=True)
class Ids:
    """Rows of the dataset by rows of the world; NONE = the shop has no such id on record."""

    member: I64
    """I64[m]."""
    customer: I64
    """Who a customer of the shop is taken to be, by the identity table, I64[m]."""
    sale: I64
    """I64[s]."""

    @classmethod
    def of(cls, dataset: Dataset, identities: pl.DataFrame, truth: Truth) -> Self:
        """Find the members, customers and sales of a world among those on record."""
        everyone, sales = len(truth.world.members), len(truth.world.sales)
        names = dataset.members["member"]
        unclaimed = names.str.starts_with(SHOP_ID).to_numpy()
        of_row = truth.member_rows(names.to_numpy())
        member, customer = np.full((2, everyone), NONE, dtype=np.int64)
        member[of_row[~unclaimed]] = np.flatnonzero(~unclaimed)
        customer[of_row[unclaimed]] = np.flatnonzero(unclaimed)
        claimed = truth.member_rows((CUSTOMER + identities["id"]).to_numpy())
        customer[claimed] = member[truth.member_rows(identities["member"].to_numpy())]
        sale = np.full(sales, NONE, dtype=np.int64)
        sale[truth.sale_rows(dataset.sales["sale"].to_numpy())] = np.arange(dataset.num_sales)
        return cls(member, customer, sale)


@dataclass(frozen=True)
class Record:
    """What the shop has on record of members who consent to be known."""

    history: Events
    """Engagements, as in Dataset.history."""
    shown: Shown
    consent: Bool
    """Who consents, Bool[members]."""
    ids: Ids

    @classmethod
    def of(cls, dataset: Dataset, ids: Ids) -> Self:
        """Return what a dataset has on record."""
        consent = dataset.members["consent_personalise"].to_numpy()
        return cls(dataset.history, dataset.shop.shown, consent, ids)

    def after(self, log: Log) -> Self:
        """Return the record once the day after it is over.

        Purchases in a shop by a customer who is not on record are left out.
        """
        return type(self)(self._engaged(log), self._seen(log), self.consent, self.ids)

    def _engaged(self, log: Log) -> Events:
        in_shop, ids, old = log.channel == Channel.SHOP, self.ids, self.history
        member = np.where(in_shop, ids.customer[log.member], ids.member[log.member])
        counts = (log.sale != NONE) & (KIND_WEIGHTS[log.kind] > 0) & (log.flags & FLAG_FOUND == 0)
        rows = np.flatnonzero(counts & (member != NONE) & self.consent[member])
        keys = (log.channel, log.kind, ids.sale[log.sale], log.at, member)
        rows = rows[np.lexsort([key[rows] for key in keys])]
        place, ptr = _behind(old.member_ptr, member[rows])
        return Events(
            sale=np.insert(old.sale, place, ids.sale[log.sale[rows]]),
            at=np.insert(old.at, place, log.at[rows]),
            kind=np.insert(old.kind, place, log.kind[rows]),
            channel=np.insert(old.channel, place, log.channel[rows]),
            # what was spent and what is late are no matter to slates
            flags=np.insert(old.flags, place, 0),
            value=np.insert(old.value, place, 0),
            member_ptr=ptr,
        )

    def _seen(self, log: Log) -> Shown:
        member, old = self.ids.member[log.shown_member], self.shown
        rows = np.flatnonzero((member != NONE) & self.consent[member])
        keys = (log.shown_slot, log.shown_channel, log.shown_at, member)
        rows = rows[np.lexsort([key[rows] for key in keys])]
        place, ptr = _behind(old.member_ptr, member[rows])
        return Shown(
            sale=np.insert(old.sale, place, self.ids.sale[log.shown_sale[rows]]),
            at=np.insert(old.at, place, log.shown_at[rows]),
            member_ptr=ptr,
        )


def _behind(ptr: I64, member: I64) -> tuple[I64, I64]:
    """Return where the later rows of members I64[k], ascending, go, and the pointers then."""
    counts = np.bincount(member, minlength=len(ptr) - 1)
    return ptr[member + 1], ptr + np.concatenate(([0], np.cumsum(counts)))
