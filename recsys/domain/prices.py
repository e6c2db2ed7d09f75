"""What each promise about the audience costs, and what that adds to the utility of a sale."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np

from recsys.domain.arrays import F32, I16, I64, NONE, Bool
from recsys.domain.errors import BrokenArtefactError, SettingError
from recsys.domain.manifest import JSON


@dataclass(frozen=True)
class Groups:
    """Named sets of the S sales of a shelf: one sale, a brand, what editors picked."""

    sales: I64
    """Rows of the shelf's sales, I64[S], no two alike; a column is a place in here."""
    names: tuple[str, ...]
    holds: Bool
    """Which sales each group has, Bool[G, S]."""

    def __post_init__(self) -> None:
        """Refuse names that are not unique or do not fit the sets."""
        wanted = (len(self.names), len(self.sales))
        if self.holds.shape != wanted:
            raise ValueError(f"groups x sales are {wanted}, found sets of {self.holds.shape}")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"two groups have one name: {self.names}")
        if len(np.unique(self.sales)) < len(self.sales):
            raise ValueError("a sale stands twice on the shelf")

    def named(self, names: Sequence[str]) -> Bool:
        """Return the sets of some groups, Bool[len(names), S]; an unknown group has no sale."""
        none = np.zeros((1, len(self.sales)), dtype=np.bool_)
        place = {name: row for row, name in enumerate(self.names)}
        found: Bool = np.concatenate([self.holds, none])[[place.get(name, NONE) for name in names]]
        return found

    def columns(self, sales: I64) -> I64:
        """Return the column of each sale row, of the shape of `sales`.

        NONE stays NONE, and is what a sale that is not on the shelf gets.
        """
        # NONE reads the last place, which no sale has
        found: I64 = self._place[np.where(sales < len(self._place), sales, NONE)]
        return found

    @cached_property
    def _place(self) -> I64:
        place = np.full(int(self.sales.max(initial=0)) + 2, NONE, dtype=np.int64)
        place[self.sales] = np.arange(len(self.sales))
        return place


@dataclass(frozen=True)
class Tariff:
    """What promises add to the utility of the S sales of a shelf, in units of value.

    One row for each of C segments, and a last one, which NONE reads, for members of none.
    """

    floor: F32
    """Prices of promised minimums, F32[C + 1, S], >= 0."""
    cap: F32
    """Minus the prices of promised maximums, F32[C + 1, S], <= 0."""

    def of(self, segment: I16, columns: I64) -> tuple[F32, F32]:
        """Return floor and cap, each F32[n, c], of the sales in question for n members.

        `segment` I16[n] as rows of the tariff or NONE; `columns` I64[1, c] or I64[n, c].
        """
        return self.floor[segment[:, None], columns], self.cap[segment[:, None], columns]


@dataclass(frozen=True)
class Prices:
    """Prices of B bounds: of a group, so that a sale that joins it later has its price too."""

    groups: tuple[str, ...]
    """Of each bound."""
    segments: tuple[str | None, ...]
    """Of each bound; None = all members."""
    floor: F32
    """Price of falling below the minimum, F32[B], >= 0, in units of value."""
    cap: F32
    """Price of rising above the maximum, F32[B], >= 0, in units of value."""
    missed: F32
    """By how much each bound was missed in the sample that set the prices, F32[B], in shares."""

    def __post_init__(self) -> None:
        """Refuse prices that are no prices of these bounds."""
        num = len(self.groups)
        if len(self.segments) != num:
            raise ValueError(f"{num} groups have {len(self.segments)} segments")
        for name, amount in (("floor", self.floor), ("cap", self.cap), ("missed", self.missed)):
            if amount.shape != (num,) or amount.dtype != np.float32:
                raise ValueError(f"{name} is float32 of {num}, found {amount.dtype} {amount.shape}")
            if not (np.isfinite(amount) & (amount >= 0)).all():
                raise ValueError(f"{name} is finite and >= 0, found {amount}")

    @property
    def violation(self) -> float:
        """The most that any bound was missed by, in shares; 0 = all promises were kept."""
        return float(self.missed.max(initial=0))

    @property
    def fingerprint(self) -> str:
        """16 hex digits that stand for these prices."""
        text = json.dumps(self._said(), sort_keys=True, ensure_ascii=False)
        return sha256(text.encode()).hexdigest()[:16]

    def tariff(self, groups: Groups, segments: Sequence[str] = ()) -> Tariff:
        """Price a shelf, which may be another than the one the prices were set for.

        A group that is not on this shelf prices nothing. A sale of several groups has the sum of
        their prices.

        Raises:
            SettingError: a price is for a segment that is not among `segments`.
        """
        unknown = sorted({name for name in self.segments if name and name not in segments})
        if unknown:
            raise SettingError(
                f"prices are for segments that are not known: {', '.join(unknown)}",
                f"known: {', '.join(segments) or '(none)'}",
                "set the prices anew for these segments",
            )
        holds = groups.named(self.groups)
        floor, cap = (
            _summed(amount, holds, covers(self.segments, segments))
            for amount in (self.floor, self.cap)
        )
        return Tariff(floor=floor, cap=-cap)

    def plain(self) -> dict[str, JSON]:
        """Return all of it as plain data, which JSON keeps to the last bit."""
        return {"fingerprint": self.fingerprint, "bounds": self._said()}

    def _said(self) -> list[JSON]:
        names = ("group", "segment", "floor", "cap", "missed")
        amounts = (self.floor.tolist(), self.cap.tolist(), self.missed.tolist())
        rows = zip(self.groups, self.segments, *amounts, strict=True)
        return [dict(zip(names, row, strict=True)) for row in rows]


def read(plain: Mapping[str, Any]) -> Prices:
    """Return the prices that `Prices.plain` told.

    Raises:
        BrokenArtefactError: they are none, or were changed since.
    """
    try:
        rows = list(plain["bounds"])
        prices = Prices(
            groups=tuple(str(row["group"]) for row in rows),
            segments=tuple(None if row["segment"] is None else str(row["segment"]) for row in rows),
            floor=np.array([row["floor"] for row in rows], dtype=np.float32),
            cap=np.array([row["cap"] for row in rows], dtype=np.float32),
            missed=np.array([row["missed"] for row in rows], dtype=np.float32),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenArtefactError(
            f"these are no prices: {error}", "set them anew, or use others"
        ) from error
    if prices.fingerprint != plain.get("fingerprint"):
        raise BrokenArtefactError(
            f"prices were changed since they were set: they say {plain.get('fingerprint')}",
            f"and are {prices.fingerprint}; set them anew, or use others",
        )
    return prices


def covers(of: Sequence[str | None], segments: Sequence[str]) -> Bool:
    """Say whose members each bound is about, Bool[B, C + 1]; the last column is members of none.

    `of` names a bound's segment, None = all members.
    """
    everyone = np.array([name is None for name in of], dtype=np.bool_)[:, None]
    theirs = [[name == segment for segment in segments] + [False] for name in of]
    return everyone | np.array(theirs, dtype=np.bool_).reshape(len(of), len(segments) + 1)


def _summed(amount: F32, holds: Bool, within: Bool) -> F32:
    """Add the prices of the bounds that a segment's member and a sale fall under, F32[C + 1, S]."""
    # bound by bound in their order: the same bits on every machine
    each = amount.astype(np.float64)[:, None, None] * within[:, :, None] * holds[:, None, :]
    total: F32 = each.sum(axis=0).astype(np.float32)
    return total
