"""What was promised about the audience, counted over all shards, and mended where it takes little.

Prices were set in a sample: the whole audience may miss a bound by a few members. The cheapest
swaps are then made in the first shards, which are made again: their new files depend on nothing
but the plan, so a run that was killed in here makes the same swaps when it is started again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from recsys.campaign.bounds import Exposure, Promises
from recsys.campaign.deciding import rules_behind
from recsys.campaign.pace import Way
from recsys.campaign.promise import promises_of
from recsys.campaign.repair import RepairNote, repair
from recsys.campaign.spares import spares
from recsys.campaign.spec import Campaign, Promised
from recsys.campaign.swaps import Room
from recsys.domain.arrays import F32, I32, I64, Bool
from recsys.domain.slates import Slates
from recsys.runs.slates_sending import Filled, Sending
from recsys.runs.slates_shards import read_dealt, write

HAND = 100_000
"""Members among whom swaps are looked for, about: a kilobyte each."""


@dataclass(frozen=True)
class Kept:
    """How far the promises are kept."""

    missed: tuple[str, ...] = ()
    """A line for each bound that is missed, the worst first, and for each that nobody decided for
    is of."""
    repaired: int = 0
    """Slates on which a sale was swapped."""
    moved: tuple[int, ...] = ()
    """By how many each column of the shelf is shown more after these swaps; empty = no swap."""


def promised(sending: Sending) -> Promises | None:
    """Return what the bundle's prices were set for, on the shelf of this send; None = nothing.

    Raises:
        SettingError: a bound names what the shop does not know.
    """
    parts, house = sending.seat.parts, sending.seat.ranker.house
    specs: Any = parts.specs
    said = specs.get("campaign") if isinstance(specs, Mapping) else None
    if house.prices is None or said is None:
        return None
    campaign = TypeAdapter(Campaign).validate_python(said)
    if not isinstance(campaign, Promised):
        return None
    promises, _ = promises_of(campaign, sending.seat.shelf, house.info)
    return promises if promises.bounds else None


def exposure_of(facts: Sequence[Mapping[str, Any]]) -> Exposure:
    """Add up what shards say of the slates of members' own, as they were decided."""
    shown = sum(np.array(fact["shown"], dtype=np.int64) for fact in facts)
    served = sum(np.array(fact["served"], dtype=np.int64) for fact in facts)
    return Exposure(np.asarray(shown), np.asarray(served))


def kept(
    sending: Sending, folder: Path, facts: Mapping[int, Mapping[str, Any]], *, most: float
) -> Kept:
    """Look at the promises over all shards; swap where they are missed, in at most `most` of all.

    `facts` are what each shard says. With `most` 0 nothing is swapped, and what is missed is told.

    Raises:
        GateError: it takes more.
    """
    promises = promised(sending)
    if promises is None:
        return Kept()
    exposure = exposure_of(list(facts.values()))
    promises, lines = promises.about(exposure.members)
    if not Room.of(promises, exposure).need.any():
        return Kept(lines)
    if not most:
        return Kept((*promises.told(exposure.shares(promises)), *lines))
    hand = _Hand.of(sending, folder, sorted(facts))
    note = hand.mend(promises, exposure, most=most)
    moved = (note.exposure.shown - exposure.shown).sum(axis=0)
    return Kept(lines, len(note.members), tuple(moved.tolist()))


@dataclass(frozen=True)
class _Hand:
    """The first shards, made again, to be mended and written anew."""

    sending: Sending
    folder: Path
    filled: Mapping[int, Filled]

    @classmethod
    def of(cls, sending: Sending, folder: Path, numbers: Sequence[int]) -> _Hand:
        """Make as many shards again as hold HAND members."""
        filled, members = dict[int, Filled](), 0
        for number in numbers:
            if members >= HAND:
                break
            dealt = read_dealt(folder, number, sending.job)
            filled[number] = sending.fill(dealt, Way.VALUE)
            members += len(dealt.rows)
        return cls(sending, folder, filled)

    def mend(self, promises: Promises, exposure: Exposure, *, most: float) -> RepairNote:
        """Swap, write the shards anew, and return the swaps."""
        slates, seat = self._own(), self.sending.seat
        members = slates.members.astype(np.int32)
        known = spares(seat.ranker, seat.audience(members))
        mended, note = repair(
            slates,
            known.spare,
            promises,
            exposure=exposure,
            segment=self.sending.segment(members),
            most=most,
        )
        order = np.argsort(members)
        place = order[np.searchsorted(members, note.members, sorter=order)]
        new = np.full(mended.sales.shape, np.nan, dtype=np.float32)
        new[place, note.slot] = known.new_of(place, note.into)
        first = 0
        for number, one in self.filled.items():
            rows = first + np.arange(int(one.decided.personal.sum()))
            self._write(number, one, _some(mended, rows), new=new[rows])
            first += len(rows)
        return note

    @cached_property
    def _boosts(self) -> I32:
        """The rule that makes each sale of the shop worth more or less, I32[s], or NONE."""
        seat = self.sending.seat
        shop, slots = seat.parts.shop, seat.ranker.spec.slots
        orders = seat.ranker.house.terms(shop, seat.shelf, slots=slots).orders
        found: I32 = rules_behind(orders, seat.shelf.sales, shop.num_sales)[0]
        return found

    def _own(self) -> Slates:
        """Return the slates of members' own, of all the shards."""
        parts = [_some(one.decided.slates, one.decided.personal) for one in self.filled.values()]
        return Slates(**{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Slates)
        })

    def _write(self, number: int, filled: Filled, own: Slates, *, new: F32) -> None:
        """Put a shard anew with its members' own slates; `new` is NaN where none was swapped."""
        decided = filled.decided
        slates = Slates(**{
            field.name: getattr(decided.slates, field.name).copy() for field in fields(Slates)
        })
        for field in fields(Slates):
            getattr(slates, field.name)[decided.personal] = getattr(own, field.name)
        swapped, personal = ~np.isnan(new), decided.personal
        beside, rule = decided.offered.new.copy(), np.array(decided.offered.rule)
        beside[personal] = np.where(swapped, new, beside[personal])
        rule[personal] = np.where(swapped, self._boosts[own.sales], rule[personal])
        offered = replace(decided.offered, new=beside, rule=rule)
        decided = replace(decided, slates=slates, offered=offered)
        again = replace(filled, decided=decided, repaired=int(swapped.sum()))
        # the counts are those of the slates as they were decided: whoever comes next swaps alike
        said = self.sending.said(filled) | {"repaired": again.repaired}
        write(self.sending, again, self.folder, number=number, said=said)


def _some(slates: Slates, rows: I64 | Bool) -> Slates:
    return Slates(**{field.name: getattr(slates, field.name)[rows] for field in fields(Slates)})
