"""What is promised about the audience, and how much of it slates keep, counted as they stream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from recsys.domain.arrays import F64, I16, I64, NONE, Bool
from recsys.domain.errors import SettingError
from recsys.domain.prices import Groups, covers
from recsys.domain.slates import Slates
from recsys.domain.spec import NonNegative, Spec


class Bound(Spec):
    """lower <= mean over members of the number of a group's sales on the slate <= upper."""

    group: Annotated[str, Field(min_length=1)]
    """A sale, a brand, what editors picked: the name of a set of sales."""
    lower: NonNegative = 0.0
    """Share of members: of one sale 0.2 means that a fifth of them see it. Of a group of several
    sales it counts sales, and may be above 1."""
    upper: NonNegative | None = None
    """Share of members, likewise; null = no maximum."""
    segment: Annotated[str, Field(min_length=1)] | None = None
    """Only of the members of this segment; null = of all."""

    @model_validator(mode="after")
    def _bounds_something(self) -> Bound:
        if self.upper is not None and self.lower > self.upper:
            raise ValueError(f"{self.name}: lower {self.lower:g} is above upper {self.upper:g}")
        if self.upper is None and not self.lower:
            raise ValueError(f"{self.name}: neither lower nor upper: nothing would be promised")
        return self

    @property
    def name(self) -> str:
        """What it is about, in words."""
        return self.group if self.segment is None else f"{self.group} in {self.segment}"


@dataclass(frozen=True)
class Promises:
    """B bounds on the sales of one shelf; C segments of members."""

    bounds: tuple[Bound, ...]
    groups: Groups
    segments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse bounds on what is not there.

        Raises:
            SettingError: a bound's group or segment is not known, its group has no sale here, or
                two bounds are about the same.
        """
        for bound in self.bounds:
            _need(bound, group=self.groups.names)
            if bound.segment is not None:
                _need(bound, segment=self.segments)
        for bound, holds in zip(self.bounds, self.holds, strict=True):
            if not holds.any():
                raise SettingError(
                    f"{bound.name} is promised, but the group has no sale on this shelf",
                    "take the bound away, or put a sale into the group",
                )
        names = [bound.name for bound in self.bounds]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SettingError(f"bounded twice: {', '.join(twice)}", "make one bound of the two")

    @cached_property
    def holds(self) -> Bool:
        """The sales of each bound's group, Bool[B, S]."""
        return self.groups.named([bound.group for bound in self.bounds])

    @cached_property
    def within(self) -> Bool:
        """Whose members each bound is about, Bool[B, C + 1]; the last column is those of none."""
        return covers([bound.segment for bound in self.bounds], self.segments)

    @cached_property
    def lower(self) -> F64:
        """F64[B]."""
        return np.array([bound.lower for bound in self.bounds], dtype=np.float64)

    @cached_property
    def upper(self) -> F64:
        """F64[B]; inf = no maximum."""
        tops = [np.inf if bound.upper is None else bound.upper for bound in self.bounds]
        return np.array(tops, dtype=np.float64)

    def about(self, members: I64) -> tuple[Promises, tuple[str, ...]]:
        """Leave out the bounds on none of `Exposure.members`, I64[C + 1], with a line for each."""
        some = (self.within.astype(np.int64) @ members > 0).tolist()
        lines = tuple(
            f"{bound.name} is promised, but it has no member here: left out"
            for bound, has in zip(self.bounds, some, strict=True)
            if not has
        )
        kept = tuple(bound for bound, has in zip(self.bounds, some, strict=True) if has)
        return replace(self, bounds=kept), lines

    def missed(self, shares: F64) -> F64:
        """Return by how much shares F64[B] miss their bounds, F64[B] >= 0."""
        return np.maximum(np.maximum(self.lower - shares, shares - self.upper), 0.0)

    def told(self, shares: F64) -> tuple[str, ...]:
        """Return one line for each bound that shares F64[B] miss, the worst first."""
        missed = self.missed(shares)
        worst = np.argsort(-missed, kind="stable")[: np.count_nonzero(missed)].tolist()
        return tuple(
            f"{self.bounds[b].name}: {shares[b]:.4f}, promised {said(self.bounds[b])}, "
            f"missed by {missed[b]:.4f}"
            for b in worst
        )


def said(bound: Bound) -> str:
    """Return what a bound asks for, in words."""
    if bound.upper is None:
        return f"at least {bound.lower:g}"
    return f"{bound.lower:g} to {bound.upper:g}" if bound.lower else f"at most {bound.upper:g}"


@dataclass(frozen=True)
class Exposure:
    """How often each sale was shown, by segment: all that promises are checked against."""

    shown: I64
    """I64[C + 1, S]; the last row is of members of no segment."""
    members: I64
    """Members who were decided for, those who get nothing among them, I64[C + 1]."""

    @classmethod
    def none(cls, promises: Promises) -> Exposure:
        """Nobody yet."""
        rows = len(promises.segments) + 1
        sales = len(promises.groups.sales)
        return cls(np.zeros((rows, sales), np.int64), np.zeros(rows, np.int64))

    @classmethod
    def of_members(cls, promises: Promises, segment: I16) -> Exposure:
        """Members of segments I16[n] who are shown nothing yet."""
        return cls.none(promises).plus(np.zeros((len(segment), 0), np.int64), segment)

    def plus(self, columns: I64, segment: I16) -> Exposure:
        """Add n members: what they see, columns I64[n, N] or NONE, and their segment I16[n]."""
        rows, sales = self.shown.shape
        row = np.where(segment == NONE, rows - 1, segment).astype(np.int64)
        cell = np.where(columns == NONE, rows * sales, row[:, None] * sales + columns)
        counts = np.bincount(cell.ravel(), minlength=rows * sales + 1)[:-1]
        return Exposure(
            self.shown + counts.reshape(rows, sales),
            self.members + np.bincount(row, minlength=rows),
        )

    def swapped(self, out: I64, into: I64, segment: I16) -> Exposure:
        """Put a column for another on t slates, I64[t] each, of members of `segment` I16[t]."""
        nobody = np.zeros_like(self.members)
        empty = Exposure(np.zeros_like(self.shown), nobody)
        more, less = (empty.plus(columns[:, None], segment) for columns in (into, out))
        return Exposure(self.shown + more.shown - less.shown, self.members)

    def counts(self, promises: Promises) -> tuple[I64, I64]:
        """Return the sales shown that each bound counts, and its members, both I64[B].

        Raises:
            SettingError: a bound is about nobody.
        """
        within = promises.within.astype(np.int64)
        shown = (within @ self.shown * promises.holds).sum(axis=1)
        members = within @ self.members
        for bound, num in zip(promises.bounds, members, strict=True):
            if not num:
                raise SettingError(
                    f"{bound.name} is promised, but there is no such member",
                    "take the bound away, or decide for members of the segment",
                )
        return shown, members

    def shares(self, promises: Promises) -> F64:
        """Return the mean number of a group's sales a member of each bound sees, F64[B]."""
        shown, members = self.counts(promises)
        return shown / np.maximum(members, 1)


def exposure(chunks: Iterable[Slates], promises: Promises, segment: I16) -> Exposure:
    """Count what is shown while slates stream by; memory is bounded by a chunk.

    `segment` I16[all members] as rows of `promises.segments` or NONE. A slot with a sale that is
    not on the shelf of the promises counts for none.
    """
    counted = Exposure.none(promises)
    for slates in chunks:
        columns = promises.groups.columns(slates.sales)
        counted = counted.plus(columns, segment[slates.members])
    return counted


def _need(bound: Bound, **known: tuple[str, ...]) -> None:
    """Refuse a bound that names what is not known; `known` is field = names."""
    for field, names in known.items():
        name = getattr(bound, field)
        if name not in names:
            raise SettingError(
                f"{bound.name} is promised, but no {field} is called {name!r}",
                f"known: {', '.join(names) or '(none)'}",
            )
