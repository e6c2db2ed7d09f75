"""Everything a slate needs, before it is published and after it is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl

from recsys.data.asof import history_end
from recsys.domain.arrays import I64, Bool
from recsys.domain.dataset import Dataset
from recsys.domain.embeddings import Embeddings
from recsys.domain.idtable import IdTable
from recsys.domain.manifest import JSON
from recsys.domain.requests import Requests
from recsys.domain.shelf import Shelf
from recsys.domain.shop import Shop
from recsys.domain.slates import Slates
from recsys.evaluate.tradeoff import curves
from recsys.rerank.desk import Desk
from recsys.rerank.ranker import Made, Ranker
from recsys.retrieval.index import Index
from recsys.serve.newcomer import Door, Newcomer, Welcome, cannot, turned_away
from recsys.serve.segments import Segments
from recsys.serve.shelves import Shelves
from recsys.towers.plain import MemberTower

INFO = ("sale", "brand", "title", "opens_at", "closes_at", "price", "category")
"""Columns of `BundleParts.info`."""


def info_of(dataset: Dataset) -> pl.DataFrame:
    """Return what people read of a sale, a row each; null where the shop has no such column."""
    category = dataset.schema.category
    known = dataset.sales
    if category is not None and category != "category":
        known = known.with_columns(pl.col(category).cast(pl.String).alias("category"))
    missing = [pl.lit(None, pl.String).alias(name) for name in INFO if name not in known.columns]
    return known.with_columns(missing).select(INFO)


@dataclass(frozen=True)
class BundleParts:
    """m members and s sales of one shop, vectors of one model, the ranker judged with them."""

    name: str
    """Of the dataset."""
    zone: str
    """IANA name of the business time zone."""
    shop: Shop
    members: Embeddings
    personalise: Bool
    """Who consents to personal slates, Bool[m]; the others get the curated slate."""
    sales: Embeddings
    info: pl.DataFrame
    """One row a sale, columns as in INFO; brand, title, closes_at, price, category may be null."""
    index: Index
    """Over `sales.vectors`."""
    ranker: Ranker
    specs: JSON
    """The settings it was judged with, as plain data."""
    watermark: int
    """UTC microseconds: the last settled instant of the data."""
    decided_at: int
    """UTC microseconds: the instant it was made for."""
    parents: Mapping[str, str] = field(default_factory=dict)
    """Role (run, dataset) -> fingerprint."""
    of_the_past: bool = False
    """A simulated shop or a public set: answers speak of `decided_at`, not of now."""
    mail: Bool | None = None
    """Who consents to mail, Bool[m]; None = not known."""
    dial: pl.DataFrame | None = None
    """What each setting of the slates costs and brings, a row each (`recsys.evaluate.tradeoff`),
    on the requests it was judged by; None = not swept."""
    company: Index | None = None
    """Over the unit part of members' vectors, where there are many; None = all are compared."""
    indexes: Desk | None = None
    """What the ranker looks up in the shop, where it is at hand; None = sorted when first asked."""
    towers: MemberTower | None = None
    """Makes vectors of members who are not in the bundle; None = it cannot (`welcome` says why)."""
    segments: Segments | None = None
    """What members like of whom nothing but a segment is known; None = it does not say."""

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together."""
        if self.members.fingerprint != self.sales.fingerprint:
            raise ValueError(
                f"member vectors are of model {self.members.fingerprint}, "
                f"sale vectors of {self.sales.fingerprint}"
            )
        mail = () if self.mail is None else (self.mail,)
        _same("members", self.shop.num_members, self.personalise, self.members.ids, *mail)
        _same("sales", self.shop.num_sales, self.sales.ids, self.info, self.index.vectors)
        widths = {v.shape[1] for v in (self.members.vectors, self.sales.vectors)}
        if widths != {self.index.vectors.shape[1]} or self.members.unit_dims != self.unit_dims:
            raise ValueError(f"vectors of members, sales and index have widths {widths}")
        indexed = self.index.vectors
        if indexed is not self.sales.vectors and not np.array_equal(indexed, self.sales.vectors):
            raise ValueError("the index holds other vectors than the sales: another order or model")
        if missing := set(INFO) - set(self.info.columns):
            raise ValueError(f"info lacks the columns {sorted(missing)}")
        ptr = self.shop.history.member_ptr
        if np.diff(ptr)[~self.personalise].any():
            raise ValueError("a member without consent to personal slates has a history")
        self._check_what_may_lack()

    def _check_what_may_lack(self) -> None:
        if self.dial is not None:
            curves(self.dial)  # refuses another table
        if self.towers is not None and self.towers.shape != self.sales.vectors.shape:
            raise ValueError(f"the towers are of {self.towers.shape} sales and coordinates")
        if self.segments is not None and len(self.segments.everyone) != self.sales.dim:
            raise ValueError(f"segments have {len(self.segments.everyone)} coordinates")

    @property
    def unit_dims(self) -> int:
        """How many of the first coordinates measure likeness."""
        return self.sales.unit_dims

    @cached_property
    def member_ids(self) -> IdTable:
        """Ids of members to rows.

        Raises:
            ValueError: an id is missing or stands there twice.
        """
        return _table(self.members.ids, "member")

    @cached_property
    def sale_ids(self) -> IdTable:
        """Ids of sales to rows.

        Raises:
            ValueError: an id is missing or stands there twice.
        """
        return _table(self.sales.ids, "sale")

    @cached_property
    def shelves(self) -> Shelves:
        """The shelf by the clock."""
        return Shelves(self.shop)

    @cached_property
    def _ranker(self) -> Ranker:
        kept = [] if self.indexes is None else [self.indexes]
        return replace(self.ranker.with_kernel(self.sales.unit), _desk=kept)

    @property
    def desk(self) -> Desk:
        """What the ranker looks up in the shop."""
        return self._ranker.desk(self.shop)

    def slates(
        self, members: I64, shelf: Shelf, *, slots: int, novelty: float | None = None
    ) -> Slates:
        """Return the personal slates of some member rows I64[r] on a shelf.

        `novelty` is the dial; None = where it stood when the bundle was judged.
        """
        return self.made(members, shelf, slots=slots, novelty=novelty).slates

    def made(self, members: I64, shelf: Shelf, *, slots: int, novelty: float | None = None) -> Made:
        """Return what `slates` does, with all that the slates were chosen from."""
        rows = members.astype(np.int32)
        end = history_end(self.shop.history, rows, np.array(shelf.at))
        requests = Requests.now(rows, shelf, end)
        on_shelf = self.sales.vectors[shelf.sales]
        taste = np.einsum("rd,sd->rs", self.members.vectors[rows], on_shelf)
        return self.as_asked(slots, novelty).made(
            self.shop,
            requests,
            requests.rows(0),
            taste=taste,
            unit=on_shelf[:, : self.unit_dims],
        )

    def as_asked(self, slots: int, novelty: float | None) -> Ranker:
        """Return the ranker with slates of some length, and its dial at `novelty`; None = as is."""
        ranker = self._ranker.with_slots(slots)
        return ranker if novelty is None else ranker.with_novelty(novelty)

    def welcome(
        self,
        asked: Sequence[Newcomer],
        shelf: Shelf,
        *,
        slots: int,
        novelty: float | None = None,
    ) -> Welcome:
        """Return the personal slates of members who are not in the bundle, by what they tell.

        Each gets what a member with this past and these features would get on the shelf; what was
        left out of a past is counted. Where the bundle cannot, `slates` is None and `because` says
        why. The shelf must not be empty.

        Raises:
            SettingError: a kind, a time or a column cannot be read; the text names it.
        """
        if self.towers is None:
            return turned_away(cannot(self.towers, self.specs))
        return self._door.welcome(self.towers, asked, shelf, slots=slots, novelty=novelty)

    def by_segment(
        self, asked: Newcomer, shelf: Shelf, *, slots: int, novelty: float | None = None
    ) -> Slates | None:
        """Return the slate of a member who is not in the bundle by their segments alone.

        None: the bundle knows none that they are in. The shelf must not be empty.

        Raises:
            SettingError: members have no such column.
        """
        if self.segments is None:
            return None
        return self._door.by_segment(self.segments, asked, shelf, slots=slots, novelty=novelty)

    @cached_property
    def _door(self) -> Door:
        return Door(self._ranker, self.shop, self.sales, self.sale_ids)


def _table(ids: np.ndarray | IdTable, what: str) -> IdTable:
    return ids if isinstance(ids, IdTable) else IdTable.of(ids, what)


def _same(what: str, wanted: int, *parts: Sized) -> None:
    counts = [len(part) for part in parts]
    if set(counts) != {wanted}:
        raise ValueError(f"the shop has {wanted} {what}, other parts have {counts}")
