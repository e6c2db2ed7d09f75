"""What the shop asks of all slates: editors' rules, and the prices of what it promised."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.data.vocab import Vocab
from recsys.domain import prices as priced
from recsys.domain.arrays import F32, I16, I32, I64, NONE
from recsys.domain.prices import Prices, Tariff
from recsys.domain.shelf import Shelf
from recsys.domain.shop import Shop
from recsys.rerank.groups import groups_of
from recsys.rerank.rules import Orders, Rules


@dataclass(frozen=True)
class Terms:
    """What is asked of slates from one shelf of s sales."""

    orders: Orders
    """Editors' rules in force; columns are those of the shelf."""
    tariff: Tariff | None
    """Prices of the shelf's sales; None = no promises."""
    segment: I16
    """Segment of each of all members, I16[m], or NONE; empty where there are no segments."""

    def promised(self, members: I32, columns: I64) -> tuple[F32, F32] | None:
        """Return floor and cap, F32[n, c] each, of member rows I32[n]; None = no price.

        `columns` of the shelf are I64[1, c] or I64[n, c].
        """
        if self.tariff is None:
            return None
        nobody = np.full(len(members), NONE, dtype=np.int16)
        return self.tariff.of(self.segment[members] if len(self.segment) else nobody, columns)


@dataclass(frozen=True)
class House:
    """Rules and prices of one shop of m members; by itself it asks for nothing."""

    info: pl.DataFrame = field(default_factory=pl.DataFrame)
    """sale, brand, category: a row for each sale of the shop; needed where there are prices."""
    rules: Rules = field(default_factory=Rules.none)
    prices: Prices | None = None
    segments: tuple[str, ...] = ()
    """Names of segments of members."""
    segment: I16 = field(default_factory=lambda: np.zeros(0, dtype=np.int16))
    """Segment of each member, I16[m], or NONE; empty where there are no segments."""
    _kept: list[tuple[object, Terms]] = field(default_factory=list, repr=False, compare=False)

    def terms(self, shop: Shop, shelf: Shelf, *, slots: int) -> Terms:
        """Return what holds on a shelf at its instant; the last answer is kept."""
        force = self.rules.in_force(shelf.at)
        key = (shelf.sales.tobytes(), shelf.curated.tobytes(), tuple(force.tolist()), slots)
        for known, terms in self._kept:
            if known == key:
                return terms
        sales = shelf.sales.astype(np.int64)
        orders = self.rules.orders(shelf.at, sales, shop.brand.astype(np.int64), slots=slots)
        tariff = None
        if self.prices is not None:
            groups = groups_of(self.prices.groups, shelf, self.info)
            tariff = self.prices.tariff(groups, self.segments)
        terms = Terms(orders, tariff, self.segment)
        self._kept[:] = [(key, terms)]
        return terms

    def save(self, folder: Path) -> None:
        """Write rules as parquet, the rest as JSON and an array."""
        self.rules.save(folder)
        np.save(folder / "segment.npy", self.segment)
        plain = {
            "segments": self.segments,
            "prices": None if self.prices is None else self.prices.plain(),
        }
        (folder / "house.json").write_text(json.dumps(plain), encoding="utf-8")


def load(folder: Path, info: pl.DataFrame) -> House:
    """Read what `House.save` wrote; `info` is the shop's.

    Raises:
        BrokenArtefactError: the prices were changed since they were set.
    """
    plain: Mapping[str, Any] = json.loads((folder / "house.json").read_text(encoding="utf-8"))
    return House(
        info=info.select("sale", "brand", "category"),
        rules=Rules.of(pl.read_parquet(folder / "rules.parquet"), **vocabs(info)),
        prices=None if plain["prices"] is None else priced.read(plain["prices"]),
        segments=tuple(plain["segments"]),
        segment=np.load(folder / "segment.npy", allow_pickle=False),
    )


def vocabs(info: pl.DataFrame) -> dict[str, Vocab]:
    """Return the ids of sales and brands in the order of the shop's rows."""
    brands = info["brand"].drop_nulls().unique().sort()
    return {"sales": Vocab(info["sale"]), "brands": Vocab(brands)}
