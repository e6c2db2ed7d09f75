"""One bundle's answers: a member's slate by the clock, the ladder below it, sales like others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from recsys.domain.arrays import F32, NONE, Bool
from recsys.domain.errors import UnknownMemberError, UnknownSaleError
from recsys.domain.shelf import Shelf
from recsys.domain.slates import (
    FLAG_EXPLORED,
    FLAG_PINNED,
    FLAG_REPAIRED,
    PARTS,
    Reason,
    Slates,
)
from recsys.domain.ties import keyed
from recsys.rerank.reasons import sentence
from recsys.retrieval.exact import top_k
from recsys.retrieval.filters import on_shelf
from recsys.serve.answers import Answer, AskSimilar, Near, OnOffer, Place, Rung
from recsys.serve.bundle import SEARCHING, Bundle

CHUNK = 1024
"""Members decided at once."""
FLAGS = {FLAG_PINNED: "pinned", FLAG_EXPLORED: "explored", FLAG_REPAIRED: "repaired"}
TASTE, NEW, CURATED = (
    [PARTS.index(part) for part in group]
    for group in (("appeal", "fatigue"), ("novelty", "diversity"), ("editor", "floor", "cap"))
)


class Recommender:
    """Answers from one bundle; nothing in it changes, so any thread may ask."""

    def __init__(self, bundle: Bundle, clock: Callable[[], int] | None = None) -> None:
        """Take a bundle and the clock (UTC us) that says what is open.

        None = the machine's clock; for a shop of the past, the instant its bundle was made for.
        """
        self.bundle = bundle
        self._parts = bundle.parts
        self._clock = clock
        info = bundle.parts.info
        self._ids = info["sale"].to_list()
        self._titles = info["title"].to_list()
        self._brands = info["brand"].to_list()

    @property
    def generation(self) -> str:
        """Fingerprint of the bundle."""
        return self.bundle.generation

    def now(self) -> int:
        """Return the instant that answers speak of, UTC us."""
        if self._clock is not None:
            return self._clock()
        return self._parts.decided_at if self._parts.of_the_past else time.time_ns() // 1_000

    def shelf_at(self, at: int | None = None) -> Shelf:
        """Return what is open and in stock at an instant (UTC us), by default now."""
        return self._parts.shelves.at(self.now() if at is None else at)

    def next_opening(self, at: int) -> int | None:
        """Return the first opening after an instant (UTC us), if there is one."""
        return self._parts.shelves.next_opening(at)

    def recommend(
        self, members: Sequence[str], *, slots: int, at: int | None = None
    ) -> list[Answer]:
        """Return one slate for each member id, in their order; an unknown member gets one too.

        An empty shelf gives empty slates; ask `shelf_at` first.
        """
        shelf = self.shelf_at(at)
        rows = self._parts.member_ids.rows(members)
        rung, plain = self._for_all(shelf, slots)
        foretells = self._parts.ranker.label
        short = len(plain) < slots
        answers = [Answer(member, rung, short, plain, foretells) for member in members]
        chosen = np.flatnonzero((rows != NONE) & (len(shelf) > 0))
        chosen = chosen[self._parts.personalise[rows[chosen]]]
        for first in range(0, len(chosen), CHUNK):
            block = chosen[first : first + CHUNK]
            slates = self._parts.slates(rows[block], shelf, slots=slots)
            for place, asked in enumerate(block.tolist()):
                sales = self._places(slates, place)
                if sales:
                    short = len(sales) < slots
                    answers[asked] = Answer(members[asked], "personalised", short, sales, foretells)
        return answers

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
        query, skip = self._query(asked)
        is_open = on_shelf(shelf, self._parts.shop.num_sales)
        allowed = self._allowed(asked, is_open, skip)
        if asked.scope == "open":
            found = top_k(query, self._parts.sales.vectors, asked.k, allowed=allowed)
        else:
            with SEARCHING:
                found = self._parts.index.search(query, asked.k, allowed=allowed)
        best = found.sales[0][found.sales[0] != NONE].tolist()
        return [
            Near(
                sale=self._ids[row],
                title=self._titles[row],
                brand=self._brands[row],
                score=float(score),
                open=bool(is_open[row]),
            )
            for row, score in zip(best, found.scores[0].tolist(), strict=False)
        ]

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

    def _for_all(self, shelf: Shelf, slots: int) -> tuple[Rung, tuple[Place, ...]]:
        """Return the slate of those of whom nothing may be known: editors' picks, then newest."""
        opened = self._parts.shop.opens_at[shelf.sales]
        order = np.lexsort((keyed(0, shelf.sales), -opened, ~shelf.curated))[:slots]
        places = tuple(
            self._plain(slot, int(shelf.sales[column]), picked=bool(shelf.curated[column]))
            for slot, column in enumerate(order.tolist(), start=1)
        )
        return ("curated" if shelf.curated.any() else "newest"), places

    def _plain(self, slot: int, row: int, *, picked: bool) -> Place:
        return Place(
            slot=slot,
            sale=self._ids[row],
            title=self._titles[row],
            brand=self._brands[row],
            taste=0.0,
            new=0.0,
            curated=0.0,
            gain=0.0,
            reason=(Reason.CURATOR_PICK if picked else Reason.NOTHING).name.lower(),
            because="picked by an editor" if picked else "among the newest sales",
            evidence=None,
            flags=(),
        )

    def _places(self, slates: Slates, member: int) -> tuple[Place, ...]:
        return tuple(
            self._place(slates, (member, slot))
            for slot in np.flatnonzero(slates.sales[member] != NONE).tolist()
        )

    def _place(self, slates: Slates, cell: tuple[int, int]) -> Place:
        row, evidence = int(slates.sales[cell]), int(slates.evidence[cell])
        reason, flags = Reason(int(slates.reason[cell])), int(slates.flags[cell])
        parts = slates.parts[cell].astype(np.float64)
        taste, new, curated = (float(parts[group].sum()) for group in (TASTE, NEW, CURATED))
        return Place(
            slot=cell[1] + 1,
            sale=self._ids[row],
            title=self._titles[row],
            brand=self._brands[row],
            taste=taste,
            new=new,
            curated=curated,
            gain=taste + new + curated,
            reason=reason.name.lower(),
            because=sentence(
                reason,
                brand=self._brands[row] or "",
                sale="" if evidence == NONE else self._titles[evidence] or self._ids[evidence],
            ),
            evidence=None if evidence == NONE else self._ids[evidence],
            flags=tuple(name for bit, name in FLAGS.items() if flags & bit),
        )

    def _query(self, asked: AskSimilar) -> tuple[F32, int]:
        """Return the query F32[1, dim] and the row to leave out."""
        dim, unit = self._parts.sales.dim, self._parts.unit_dims
        if (asked.sale is not None) + (asked.member is not None) + (asked.vector is not None) != 1:
            raise ValueError("name exactly one of sale, member, vector")
        if asked.member is not None:
            row = int(self._parts.member_ids.rows([asked.member])[0])
            if row == NONE:
                raise UnknownMemberError("the member is not in the bundle")
            return self._parts.members.vectors[[row]], NONE
        query = np.zeros((1, dim), dtype=np.float32)
        if asked.sale is not None:
            row = int(self._parts.sale_ids.rows([asked.sale])[0])
            if row == NONE:
                raise UnknownSaleError("the sale is not in the bundle")
            query[0, :unit] = self._parts.sales.unit[row]
            return query, row
        vector = np.array(asked.vector, dtype=np.float64)
        if len(vector) not in {dim, unit} or not (np.abs(vector) < 1e18).all():
            raise ValueError(f"a vector has {dim} numbers, or the first {unit}, each below 1e18")
        query[0, : len(vector)] = vector
        return query, NONE

    def _allowed(self, asked: AskSimilar, is_open: Bool, skip: int) -> Bool | None:
        if asked.scope == "archive" and not asked.brands and not asked.exclude and skip == NONE:
            return None
        allowed = is_open if asked.scope == "open" else np.ones_like(is_open)
        if asked.brands:
            wanted = self._parts.info["brand"].is_in(asked.brands).fill_null(value=False)
            allowed = allowed & wanted.to_numpy()
        out = self._parts.sale_ids.rows(asked.exclude)
        allowed = allowed.copy()
        allowed[out[out != NONE]] = False
        if skip != NONE:
            allowed[skip] = False
        return allowed


def iso(at: int) -> str:
    """Return UTC microseconds as ISO 8601 text."""
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
    return instant.isoformat().replace("+00:00", "Z")
