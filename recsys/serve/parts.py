"""Everything a slate needs, before it is published and after it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl

from recsys.data.asof import history_end
from recsys.domain.arrays import I64, Bool
from recsys.domain.dataset import Dataset
from recsys.domain.embeddings import Embeddings
from recsys.domain.manifest import JSON
from recsys.domain.requests import Requests
from recsys.domain.shelf import Shelf
from recsys.domain.shop import Shop
from recsys.domain.slates import Slates
from recsys.evaluate.tradeoff import curves
from recsys.rerank.ranker import Ranker
from recsys.retrieval.index import Index
from recsys.serve.ids import Ids
from recsys.serve.shelves import Shelves

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
    dial: pl.DataFrame | None = None
    """What each setting of the slates costs and brings, a row each (`recsys.evaluate.tradeoff`),
    on the requests it was judged by; None = not swept."""

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together."""
        if self.members.fingerprint != self.sales.fingerprint:
            raise ValueError(
                f"member vectors are of model {self.members.fingerprint}, "
                f"sale vectors of {self.sales.fingerprint}"
            )
        _same("members", self.shop.num_members, self.personalise, self.members.ids)
        _same("sales", self.shop.num_sales, self.sales.ids, self.info, self.index.vectors)
        widths = {v.shape[1] for v in (self.members.vectors, self.sales.vectors)}
        if widths != {self.index.vectors.shape[1]} or self.members.unit_dims != self.unit_dims:
            raise ValueError(f"vectors of members, sales and index have widths {widths}")
        if not np.array_equal(self.index.vectors, self.sales.vectors):
            raise ValueError("the index holds other vectors than the sales: another order or model")
        if missing := set(INFO) - set(self.info.columns):
            raise ValueError(f"info lacks the columns {sorted(missing)}")
        ptr = self.shop.history.member_ptr
        if np.diff(ptr)[~self.personalise].any():
            raise ValueError("a member without consent to personal slates has a history")
        if self.dial is not None:
            curves(self.dial)  # refuses another table

    @property
    def unit_dims(self) -> int:
        """How many of the first coordinates measure likeness."""
        return self.sales.unit_dims

    @cached_property
    def member_ids(self) -> Ids:
        """Ids of members to rows."""
        return Ids("member", self.members.ids)

    @cached_property
    def sale_ids(self) -> Ids:
        """Ids of sales to rows."""
        return Ids("sale", self.sales.ids)

    @cached_property
    def shelves(self) -> Shelves:
        """The shelf by the clock."""
        return Shelves(self.shop)

    @cached_property
    def _ranker(self) -> Ranker:
        return self.ranker.with_kernel(self.sales.unit)

    def slates(self, members: I64, shelf: Shelf, *, slots: int) -> Slates:
        """Return the personal slates of some member rows I64[r] on a shelf."""
        rows = members.astype(np.int32)
        end = history_end(self.shop.history, rows, np.array(shelf.at))
        requests = Requests.now(rows, shelf, end)
        on_shelf = self.sales.vectors[shelf.sales]
        taste = np.einsum("rd,sd->rs", self.members.vectors[rows], on_shelf)
        return self._ranker.with_slots(slots).slates(
            self.shop,
            requests,
            requests.rows(0),
            taste=taste,
            unit=on_shelf[:, : self.unit_dims],
        )


def _same(what: str, wanted: int, *parts: np.ndarray | pl.DataFrame) -> None:
    counts = [len(part) for part in parts]
    if set(counts) != {wanted}:
        raise ValueError(f"the shop has {wanted} {what}, other parts have {counts}")
