"""Members, sales and events of one shop: columnar, with rows instead of ids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl

from recsys.domain.arrays import I32, I64, NONE
from recsys.domain.events import FLAG_MACHINE, KIND_WEIGHTS, Events
from recsys.domain.schema import Schema
from recsys.domain.shelf import Shelf
from recsys.domain.shop import Shop
from recsys.domain.shown import Shown


@dataclass(frozen=True)
class Dataset:
    """One shop's checked data. Rows of `members` and `sales` are the rows all arrays speak of."""

    name: str
    zone: str
    """IANA name of the business time zone: it defines day and noon."""
    schema: Schema
    members: pl.DataFrame
    """One row a member; fixed columns as in `Schema`, then features."""
    sales: pl.DataFrame
    """One row a sale, sorted by opens_at; fixed columns as in `Schema`, then features."""
    events: Events
    exposures: pl.DataFrame
    """member, sale (i32 rows), at (i64 us), send (str), slot (i16), channel (u8), propensity."""
    curation: pl.DataFrame
    """sale (i32 row), from_at, until_at (i64 us): when an editor recommends it."""
    stock: pl.DataFrame
    """sale (i32 row), at (i64 us), left (i64): changes of stock; no row = unlimited."""
    watermark: int
    """UTC microseconds: the last instant whose events are settled."""
    fingerprint: str
    """16 hex digits over all of the above."""
    shelf_hours: float | None = None
    """Catalogues without closing times: on the shelf = engaged with in the last hours.
    None = by opens_at and closes_at."""
    task: Literal["shelf", "endless"] = "shelf"
    """`shelf`: requests at fixed instants on what is open; `endless`: nothing ever closes."""
    truth: str | None = None
    """Where the simulator keeps the known truth, if this world has one."""

    @property
    def num_members(self) -> int:
        """Count the members."""
        return self.members.height

    @property
    def num_sales(self) -> int:
        """Count the sales."""
        return self.sales.height

    @cached_property
    def opens_at(self) -> I64:
        """UTC microseconds at which each sale opens, I64[num_sales], ascending."""
        return self.sales["opens_at"].dt.timestamp("us").to_numpy()

    @cached_property
    def brand(self) -> I32:
        """Brand row of each sale, I32[num_sales]; NONE where unknown. Order of first opening."""
        codes = self.sales.select(pl.col("brand").rank("dense") - 1).to_series()
        return codes.fill_null(NONE).cast(pl.Int32).to_numpy()

    @cached_property
    def category(self) -> I32:
        """Category row of each sale, I32[num_sales]; NONE where unknown."""
        column = self.schema.category
        if column is None:
            return np.full(self.num_sales, NONE, dtype=np.int32)
        codes = self.sales.select(pl.col(column).cast(pl.String).rank("dense") - 1).to_series()
        return codes.fill_null(NONE).cast(pl.Int32).to_numpy()

    @cached_property
    def history(self) -> Events:
        """Engagements that may be learned from: a sale, made by a person who consents to it."""
        events = self.events
        consent = self.members["consent_personalise"].to_numpy()
        return events.where(
            (events.sale != NONE)
            & (KIND_WEIGHTS[events.kind] > 0)
            & (events.flags & FLAG_MACHINE == 0)
            & consent[events.member]
        )

    @cached_property
    def shop(self) -> Shop:
        """The numpy-only view that decisions and serving need."""
        never = np.iinfo(np.int64).max
        prices = self.sales["price"].cast(pl.Float32).fill_null(np.nan).to_numpy()
        return Shop(
            history=self.history,
            opens_at=self.opens_at,
            closes_at=self.sales["closes_at"].dt.timestamp("us").fill_null(never).to_numpy(),
            brand=self.brand,
            category=self.category,
            price=prices,
            curated_sale=self.curation["sale"].to_numpy(),
            curated_from=self.curation["from_at"].to_numpy(),
            curated_until=self.curation["until_at"].to_numpy(),
            stock_sale=self.stock["sale"].to_numpy(),
            stock_at=self.stock["at"].to_numpy(),
            stock_left=self.stock["left"].to_numpy(),
            shown=self._shown(),
            shelf_hours=self.shelf_hours,
        )

    def _shown(self) -> Shown:
        if not self.exposures.height:
            return Shown.nothing(self.num_members)
        consent = self.members["consent_personalise"].to_numpy()
        member = self.exposures["member"].to_numpy()
        counts = np.bincount(member, minlength=self.num_members)
        shown = Shown(
            sale=self.exposures["sale"].to_numpy(),
            at=self.exposures["at"].to_numpy(),
            member_ptr=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        )
        return shown.where(consent[member])

    def shelf(self, at: int) -> Shelf:
        """Return the sales on offer at an instant (UTC us)."""
        return self.shop.shelf(at)
