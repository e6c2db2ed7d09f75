"""Where slates are made: a bundle opened once in each process, before the shelf of one instant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from recsys.campaign.audience import Audience
from recsys.campaign.keys import U64, keys_of
from recsys.campaign.pace import Way
from recsys.domain.arrays import F32, I32, I64, NONE
from recsys.domain.shelf import Shelf
from recsys.rerank.ranker import Ranker
from recsys.rerank.spec import Rerank
from recsys.serve.bundle import open_bundle
from recsys.serve.parts import BundleParts


@dataclass(frozen=True)
class Seat:
    """A bundle's parts, and the shelf that everybody stands before."""

    parts: BundleParts
    shelf: Shelf
    rerank: Rerank
    """How slates are made: the bundle's settings, or others."""

    @cached_property
    def ranker(self) -> Ranker:
        """The bundle's, with its desk laid for this instant."""
        made = self.parts.ranker.with_kernel(self.parts.sales.unit)
        return replace(made, spec=self.rerank).standing_at(self.parts.shop, self.shelf.at)

    @property
    def ways(self) -> tuple[Way, ...]:
        """How slates can be made here, the dearest first."""
        known = self.parts.ranker.by_taste is not None
        return (Way.VALUE, Way.TASTE, Way.PLAIN) if known else (Way.VALUE, Way.PLAIN)

    def ranker_for(self, way: Way) -> Ranker:
        """Return what makes slates in some way; in the plain one, what says what is banned."""
        cheap = self.ranker.cheaper() if way == Way.TASTE else None
        return cheap or self.ranker

    @cached_property
    def sales(self) -> pl.Series:
        """Ids of all sales, text[s]."""
        return self.parts.info["sale"]

    @cached_property
    def keys(self) -> U64:
        """Keys of the ids of all sales, U64[s]."""
        return keys_of(self.sales)

    def audience(self, rows: I32) -> Audience:
        """Return some members, I32[m], before the shelf; scored as the service does."""
        members, on_shelf = self.parts.members.vectors, self._on_shelf

        def taste_of(some: I32) -> F32:
            taste: F32 = np.einsum("rd,sd->rs", members[some], on_shelf)
            return taste

        unit = on_shelf[:, : self.parts.unit_dims]
        return Audience(self.parts.shop, self.shelf.at, rows, taste_of, unit)

    def columns(self, sales: I64) -> I64:
        """Return the column on the shelf of each sale row, of the shape of `sales`, or NONE."""
        place = np.full(self.parts.shop.num_sales + 1, NONE, dtype=np.int64)
        place[self.shelf.sales] = np.arange(len(self.shelf))
        # NONE reads the last place, which no sale has
        found: I64 = place[sales]
        return found

    @cached_property
    def _on_shelf(self) -> F32:
        on_shelf: F32 = self.parts.sales.vectors[self.shelf.sales]
        return on_shelf


@lru_cache(maxsize=1)
def seat_of(bundle: Path, fingerprint: str, at: int, *, rerank: str) -> Seat:
    """Open a bundle that the driver has verified, for the shelf of an instant (UTC us).

    `rerank` is how slates are made, as JSON: settings of a package may not be hashable.

    Raises:
        ArtefactError: it cannot be used, or is another by now.
    """
    spec: Rerank = TypeAdapter(Rerank).validate_json(rerank)
    return seated(open_bundle(bundle, verified=fingerprint).parts, at, spec)


def seated(parts: BundleParts, at: int, rerank: Rerank) -> Seat:
    """Stand before the shelf of an instant (UTC us)."""
    return Seat(parts, parts.shop.shelf(at), rerank)
