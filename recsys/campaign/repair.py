"""The cheapest swaps that mend what a promise still lacks when everyone's slates are made.

Of all swaps that help a promise and break no other, those that lose the least gain are made, at
most one a member; a promise that takes more than a few is not mended but refused (DECISION 7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recsys.campaign.bounds import Exposure, Promises
from recsys.campaign.swaps import Hand, Room, Spare, Swaps
from recsys.domain.arrays import F32, I16, I64, NONE, Bool
from recsys.domain.errors import GateError
from recsys.domain.slates import FLAG_REPAIRED, Reason, Slates


@dataclass(frozen=True)
class RepairNote:
    """The r swaps that were made."""

    members: I64
    """Member rows, I64[r], no two alike."""
    slot: I64
    """I64[r]."""
    out: I64
    """Sale rows taken off, I64[r]."""
    into: I64
    """Sale rows put there, I64[r]."""
    loss: F32
    """Gain lost, F32[r]."""
    share: float
    """r as a share of everyone."""
    exposure: Exposure
    """What everyone sees now."""


def repair(
    slates: Slates,
    spare: Spare,
    promises: Promises,
    *,
    exposure: Exposure,
    segment: I16,
    most: float = 0.005,
) -> tuple[Slates, RepairNote]:
    """Swap until everyone's slates keep the promises; return the slates in hand as they are then.

    `exposure` counts everyone's slates; those in hand may be a part of them, of m members of
    `segment` I16[m]. A slate with a swap was made by no policy: all its slots get FLAG_REPAIRED
    and the log propensity NaN, which is null in a log. The slot that was swapped has what it lost
    as a margin below 0, and no reason. Pins stay.

    Raises:
        GateError: it takes more than `most` of everyone, or no swap that helps is left.
    """
    hand = Hand.of(slates, spare, promises, segment=segment)
    everyone = int(exposure.members.sum())
    free: Bool = np.ones(len(segment), dtype=np.bool_)
    made: list[Swaps] = []
    while (room := Room.of(promises, exposure)).need.any():
        num = int((~free).sum())
        swaps = hand.next(room, free) if num + room.need.max() <= most * everyone else None
        if not swaps:
            raise _refused(promises, exposure, most=most, num=num)
        made.append(swaps)
        free[swaps.row] = False
        exposure = exposure.swapped(swaps.out, swaps.into, segment[swaps.row])
    return _told(slates, spare, made, exposure=exposure)


def _told(
    slates: Slates, spare: Spare, made: Sequence[Swaps], *, exposure: Exposure
) -> tuple[Slates, RepairNote]:
    """Write swaps into the slates."""
    none = np.zeros(0, dtype=np.int64)
    row, slot, other = (
        np.concatenate([none, *(getattr(swaps, name) for swaps in made)])
        for name in ("row", "slot", "spare")
    )
    loss = np.concatenate([np.zeros(0, np.float32), *(swaps.loss for swaps in made)])
    copies = {name: getattr(slates, name).copy() for name in Slates.__dataclass_fields__}
    copies["sales"][row, slot] = spare.sales[row, other]
    copies["parts"][row, slot] = spare.parts[row, other]
    copies["margin"][row, slot] = -loss
    copies["reason"][row, slot] = Reason.NOTHING
    copies["evidence"][row, slot] = NONE
    changed = np.zeros(slates.sales.shape, dtype=np.bool_)
    changed[row] = slates.sales[row] != NONE
    copies["flags"][changed] |= np.uint8(FLAG_REPAIRED)
    copies["log_propensity"][changed] = np.nan
    note = RepairNote(
        members=slates.members[row],
        slot=slot,
        out=slates.sales[row, slot],
        into=spare.sales[row, other],
        loss=loss,
        share=len(row) / max(1, int(exposure.members.sum())),
        exposure=exposure,
    )
    return replace(slates, **copies), note


def _refused(promises: Promises, exposure: Exposure, *, most: float, num: int) -> GateError:
    lines = promises.told(exposure.shares(promises))
    rest = len(lines) - 2
    return GateError(
        f"promises are not kept, and swaps for at most {most:.2%} of members do not mend them",
        *lines[:2],
        *([f"and {rest} more"] if rest > 0 else []),
        f"{num:,} swaps helped; set prices anew, or promise less",
    )
