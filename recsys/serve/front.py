"""One bundle by the clock: what is on offer, and which sales or members are like which."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from recsys.domain.arrays import I32, NONE
from recsys.domain.candidates import Candidates
from recsys.domain.clock import utc_of
from recsys.domain.shelf import Shelf
from recsys.serve.answers import Alike, Near, OnOffer
from recsys.serve.asks import AskSimilar
from recsys.serve.bundle import Bundle
from recsys.serve.likeness import (
    BRIEF,
    LONG,
    Sought,
    members_like,
    nearest_of_all,
    sales_like,
    sought,
)
from recsys.serve.placing import Placing


class Front:
    """Answers without slates; nothing in it changes, so any thread may ask."""

    def __init__(self, bundle: Bundle, clock: Callable[[], int] | None = None) -> None:
        """Take a bundle and the clock (UTC us) that says what is open.

        None = the machine's clock; for a shop of the past, the instant its bundle was made for.
        """
        self.bundle = bundle
        self._parts = bundle.parts
        self._clock = clock
        self._placing = Placing(bundle.parts.info)
        # its manifest is hashed anew each time that it is asked
        self._generation = bundle.generation
        self._open: tuple[I32, frozenset[int]] | None = None

    @property
    def generation(self) -> str:
        """Fingerprint of the bundle."""
        return self._generation

    def now(self) -> int:
        """Return the instant that answers speak of, UTC us."""
        if self._clock is not None:
            return self._clock()
        return self._parts.decided_at if self._parts.of_the_past else time.time_ns() // 1_000

    def moment(self) -> int:
        """Return the instant to answer for, UTC us: now, or less than a tenth of a second ago.

        Who asks in the same tenth of a second can be answered together; the shelf is that of now.
        """
        if self._clock is not None or self._parts.of_the_past:
            return self.now()
        return self._parts.shelves.moment(self.now())

    def shelf_at(self, at: int | None = None) -> Shelf:
        """Return what is open and in stock at an instant (UTC us), by default now."""
        return self._parts.shelves.at(self.now() if at is None else at)

    def next_opening(self, at: int) -> int | None:
        """Return the first opening after an instant (UTC us), if there is one."""
        return self._parts.shelves.next_opening(at)

    def without(self, shelf: Shelf, sales: Sequence[str]) -> Shelf:
        """Return the shelf without some sales; ids that are not known are on no shelf."""
        if not sales:
            return shelf
        kept = ~np.isin(shelf.sales, self._parts.sale_ids.rows(sales))
        return Shelf(at=shelf.at, sales=shelf.sales[kept], curated=shelf.curated[kept])

    def known(self, members: Sequence[str]) -> int:
        """Count the members that the bundle knows."""
        return int((self._parts.member_ids.rows(members) != NONE).sum())

    def similar(self, asked: AskSimilar, *, at: int | None = None) -> list[Near]:
        """Return the k sales nearest to a sale, a member or a vector, best first.

        Raises:
            UnknownSaleError, UnknownMemberError: the bundle does not hold it.
            ValueError: not exactly one of the three, another width, or numbers that are not finite.
        """
        shelf = self.shelf_at(at)
        return self._near(sales_like(self._parts, asked, shelf), shelf)

    def takes_long(self, asked: AskSimilar) -> bool:
        """Return whether a search for it would keep others waiting in the same thread."""
        return asked.scope == "archive" and len(self._parts.index.vectors) > LONG

    @property
    def brief(self) -> bool:
        """Whether one search of the archive takes less than handing it to another thread."""
        return self._parts.index.vectors.nbytes <= BRIEF

    def sought(self, asked: AskSimilar) -> Sought | None:
        """Return what is looked for where many can be found in one search; None where not.

        Raises:
            UnknownSaleError, UnknownMemberError: the bundle does not hold it.
            ValueError: not exactly one of the three, another width, or numbers that are not finite.
        """
        return sought(self._parts, asked)

    def nearest(self, many: Sequence[Sought]) -> list[Candidates]:
        """Search the archive once for all of them, who look for as many rows."""
        return nearest_of_all(self._parts, many)

    def near(self, found: Candidates, *, at: int | None = None) -> list[Near]:
        """Return what was found as callers read it, at an instant (UTC us), by default now."""
        return self._near(found, self.shelf_at(at))

    def _near(self, found: Candidates, shelf: Shelf) -> list[Near]:
        is_open = self._open_on(shelf)
        best = found.sales[0][found.sales[0] != NONE].tolist()
        placing = self._placing
        return [
            Near(
                sale=placing.ids[row],
                title=placing.titles[row],
                brand=placing.brands[row],
                score=float(score),
                open=row in is_open,
            )
            for row, score in zip(best, found.scores[0].tolist(), strict=False)
        ]

    def _open_on(self, shelf: Shelf) -> frozenset[int]:
        """Return the rows of the sales on a shelf; those of the last are kept."""
        kept = self._open
        if kept is None or kept[0] is not shelf.sales:
            kept = self._open = shelf.sales, frozenset(shelf.sales.tolist())
        return kept[1]

    def alike(self, asked: AskSimilar) -> list[Alike]:
        """Return the k members most like a member, best first.

        Raises:
            UnknownMemberError: the bundle does not hold the member.
            ValueError: no member is named, or something else beside.
        """
        if asked.member is None or asked.sale is not None or asked.vector is not None:
            raise ValueError("members are like a member: name one, and neither sale nor vector")
        rows, cosines = members_like(self._parts, asked.member, asked.k)
        named = pl.Series(self._parts.member_ids[rows]).to_list()
        return list(map(Alike, named, cosines.tolist()))

    def shelf(self, at: int | None = None) -> list[OnOffer]:
        """Return the sales on offer at an instant (UTC us), newest first."""
        shelf = self.shelf_at(at)
        rows = pl.Series(shelf.sales)
        frame = self._parts.info[rows].with_columns(curated=pl.Series(shelf.curated))
        frame = frame.sort("opens_at", "sale", descending=[True, False]).select(
            "sale",
            "title",
            "brand",
            pl.col("category").cast(pl.String),
            pl.col("price").cast(pl.Float64).fill_nan(None),
            pl.col("opens_at", "closes_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ"),
            "curated",
        )
        return [OnOffer(**row) for row in frame.to_dicts()]


def iso(at: int) -> str:
    """Return UTC microseconds as ISO 8601 text."""
    return utc_of(at).isoformat().replace("+00:00", "Z")
