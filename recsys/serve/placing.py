"""Slates as arrays in, places as callers read them out: ids, titles, parts, reasons."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from recsys.domain.arrays import I64, NONE
from recsys.domain.slates import (
    FLAG_EXPLORED,
    FLAG_PINNED,
    FLAG_REPAIRED,
    PARTS,
    Reason,
    Slates,
)
from recsys.rerank.reasons import sentence
from recsys.serve.answers import Place

FLAGS = {FLAG_PINNED: "pinned", FLAG_EXPLORED: "explored", FLAG_REPAIRED: "repaired"}
TASTE, NEW, CURATED = (
    [PARTS.index(part) for part in group]
    for group in (("appeal", "fatigue"), ("novelty", "diversity"), ("editor", "floor", "cap"))
)
_REASONS = tuple(Reason)
_NAMES = tuple(reason.name.lower() for reason in Reason)
_FLAGS = tuple(
    tuple(name for bit, name in FLAGS.items() if flags & bit) for flags in range(2 * max(FLAGS))
)


class _Cell(NamedTuple):
    row: int
    groups: list[float]
    reason: int
    evidence: int
    flags: int
    chance: float


class Placing:
    """Says what stands in each slot, by what people read of the sales of one bundle."""

    def __init__(self, info: pl.DataFrame) -> None:
        """Take sale, title and brand of each sale, a row each."""
        self.ids: list[str] = info["sale"].to_list()
        self.titles: list[str | None] = info["title"].to_list()
        self.brands: list[str | None] = info["brand"].to_list()

    def slates(self, slates: Slates) -> list[tuple[Place, ...]]:
        """Return the places of each slate, in their order; a slate that ends early is shorter."""
        amounts = slates.parts.astype(np.float64)
        groups = np.stack([amounts[:, :, group].sum(axis=2) for group in (TASTE, NEW, CURATED)])
        chance = np.exp(slates.log_propensity.astype(np.float64))
        columns = (
            slates.sales.tolist(),
            groups.transpose(1, 2, 0).tolist(),
            slates.reason.tolist(),
            slates.evidence.tolist(),
            slates.flags.tolist(),
            chance.tolist(),
        )
        return [
            tuple(
                self._place(slot, _Cell(*cell))
                for slot, cell in enumerate(zip(*slate, strict=True), start=1)
                if cell[0] != NONE
            )
            for slate in zip(*columns, strict=True)
        ]

    def plain(self, sales: I64, picked: np.ndarray) -> tuple[Place, ...]:
        """Return the places of a slate that is for all: sale rows I64[n], and which were picked."""
        return tuple(
            Place(
                slot=slot,
                sale=self.ids[row],
                title=self.titles[row],
                brand=self.brands[row],
                taste=0.0,
                new=0.0,
                curated=0.0,
                gain=0.0,
                reason=_NAMES[Reason.CURATOR_PICK if curated else Reason.NOTHING],
                because="picked by an editor" if curated else "among the newest sales",
                evidence=None,
                flags=(),
                propensity=1.0,
            )
            for slot, (row, curated) in enumerate(
                zip(sales.tolist(), picked.tolist(), strict=True), start=1
            )
        )

    def _place(self, slot: int, cell: _Cell) -> Place:
        row, (taste, new, curated), reason, evidence, flags, chance = cell
        brand = self.brands[row]
        named = "" if evidence == NONE else self.titles[evidence] or self.ids[evidence]
        return Place(
            slot=slot,
            sale=self.ids[row],
            title=self.titles[row],
            brand=brand,
            taste=taste,
            new=new,
            curated=curated,
            gain=taste + new + curated,
            reason=_NAMES[reason],
            because=sentence(_REASONS[reason], brand=brand or "", sale=named),
            evidence=None if evidence == NONE else self.ids[evidence],
            flags=_FLAGS[flags],
            propensity=None if flags & FLAG_REPAIRED else chance,
        )
