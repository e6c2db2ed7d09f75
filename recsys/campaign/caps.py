"""Who may be sent something now, and whether their slate is worth it: no send is a fine answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from recsys.domain.arrays import F64, I64, NONE, U8
from recsys.domain.events import DAY, HOUR
from recsys.domain.slates import Slates
from recsys.domain.spec import CountOrNone, NonNegative, Spec
from recsys.rerank.utility import UTILITY_PARTS, ordered_sum

WEEK = 7 * DAY - HOUR
"""Microseconds that sends count for: an hour short of seven days, so that daily sends at one local
time keep to seven a week when summer time begins as on any other day."""
BLOCK = 65_536
"""Members whose sends are counted at a time: bounds memory beside the history."""


class Caps(Spec):
    """How often members may be written to."""

    sends_per_week: CountOrNone = 7
    """Sends to one member in any seven days; 0 = any number."""
    min_gap_hours: NonNegative = 12.0
    """Least hours between two sends to one member; 0 = none."""
    cost_of_send: NonNegative = 0.0
    """What a send costs in units of value (patience, unsubscribes); slates of less utility are not
    sent. 0 until it is measured."""


class Verdict(IntEnum):
    """Whether a member is sent their slate, and if not, why; the first that applies."""

    SEND = 0
    TOO_SOON = 1
    ENOUGH_THIS_WEEK = 2
    NOTHING_TO_SHOW = 3
    NOT_WORTH_SENDING = 4


@dataclass(frozen=True)
class Sends:
    """What m members were sent before, of k sends: sorted by (member, at)."""

    member_ptr: I64
    """Sends of member row j are [member_ptr[j], member_ptr[j + 1]), I64[m + 1]."""
    at: I64
    """When each was delivered, I64[k], UTC us, ascending within a member."""

    def __post_init__(self) -> None:
        """Refuse pointers that do not cover the sends, and sends out of order."""
        ptr = self.member_ptr
        if not len(ptr) or ptr[0] != 0 or ptr[-1] != len(self.at) or (np.diff(ptr) < 0).any():
            raise ValueError(
                f"pointers of {len(ptr) - 1} members do not cover {len(self.at)} sends"
            )
        falls = np.flatnonzero(np.diff(self.at) < 0) + 1
        if not np.isin(falls, ptr).all():
            raise ValueError("the sends of a member must ascend in time: use Sends.of")

    @classmethod
    def of(cls, member: np.ndarray, at: I64, num_members: int) -> Sends:
        """Sort sends in any order: member rows int[k] below `num_members`, delivered at I64[k]."""
        count = np.bincount(member, minlength=num_members)
        if len(count) > num_members:
            raise ValueError(f"a send to member row {len(count) - 1} of {num_members} members")
        order = np.lexsort((at, member))
        return cls(member_ptr=np.concatenate(([0], np.cumsum(count))), at=at[order])

    @property
    def num_members(self) -> int:
        """Count the members."""
        return len(self.member_ptr) - 1


def may_send(sends: Sends, at: int, caps: Caps) -> U8:
    """Return SEND, TOO_SOON or ENOUGH_THIS_WEEK for every member, U8[m].

    `at` is the instant of delivery (UTC us); sends up to and at it count, later ones are not known
    yet. A send that is decided again must not stand among them.
    """
    verdict = np.full(sends.num_members, Verdict.SEND, dtype=np.uint8)
    gap = round(caps.min_gap_hours * HOUR)
    for first in range(0, sends.num_members, BLOCK):
        ptr = sends.member_ptr[first : first + BLOCK + 1]
        past = sends.at[ptr[0] : ptr[-1]]
        known = past <= at
        block = verdict[first : first + BLOCK]
        if caps.sends_per_week:
            lately = _by_member(known & (past > at - WEEK), ptr)
            block[lately >= caps.sends_per_week] = Verdict.ENOUGH_THIS_WEEK
        block[_by_member(known & (past > at - gap), ptr) > 0] = Verdict.TOO_SOON
    return verdict


def worth_sending(slates: Slates, allowed: U8, caps: Caps) -> U8:
    """Return the verdict on each slate, U8[n]; `allowed` U8[m] is `may_send` of all members."""
    verdict = allowed[slates.members]
    open_still = verdict == Verdict.SEND
    empty = ~(slates.sales != NONE).any(axis=1)
    poor = utility_of(slates) < caps.cost_of_send
    verdict[open_still & poor] = Verdict.NOT_WORTH_SENDING
    verdict[open_still & empty] = Verdict.NOTHING_TO_SHOW
    return verdict


def utility_of(slates: Slates) -> F64:
    """Return what each slate is worth, F64[n]: the utilities of its sales, without diversity."""
    amounts = np.moveaxis(slates.parts[..., : len(UTILITY_PARTS)], -1, 0)
    shown = slates.sales != NONE
    total: F64 = np.where(shown, ordered_sum(amounts), 0).sum(axis=1, dtype=np.float64)
    return total


def only_sent(slates: Slates, verdict: U8) -> Slates:
    """Return the slates with those of members who are sent nothing emptied."""
    kept = (verdict == Verdict.SEND)[:, None]
    return replace(
        slates,
        sales=np.where(kept, slates.sales, NONE),
        parts=np.where(kept[..., None], slates.parts, np.float32(0)),
        margin=np.where(kept, slates.margin, np.float32(0)),
        log_propensity=np.where(kept, slates.log_propensity, np.float32(0)),
        reason=np.where(kept, slates.reason, np.uint8(0)),
        evidence=np.where(kept, slates.evidence, NONE),
        flags=np.where(kept, slates.flags, np.uint8(0)),
    )


def _by_member(marked: np.ndarray, ptr: I64) -> I64:
    """Count marked sends by member, I64[len(ptr) - 1]."""
    before = np.concatenate(([0], np.cumsum(marked)))
    counts: I64 = np.diff(before[ptr - ptr[0]])
    return counts
