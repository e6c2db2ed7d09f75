"""What members did, when and where: columnar, sorted by member and time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Literal

import numpy as np

from recsys.domain.arrays import F32, I32, I64, U8, Bool

HOUR = 3_600_000_000
"""Microseconds in an hour."""
DAY = 24 * HOUR
"""Microseconds in 24 hours. A local day may be longer or shorter: see data.instants."""
QUICK = 3 * HOUR
"""Outcomes that come within this time are foretold by what happened in the last minutes."""

FLAG_MACHINE = 1
"""Bit of `Events.flags`: a machine made the event (a mail proxy, a crawler)."""
FLAG_LATE = 2
"""Bit of `Events.flags`: the event arrived later than the data contract allows."""


class Kind(IntEnum):
    """What a member did."""

    VISIT = 0
    VIEW = 1
    MAIL_OPEN = 2
    MAIL_CLICK = 3
    WAIT_LIST = 4
    CART = 5
    PURCHASE = 6


class Channel(IntEnum):
    """Where a member did it."""

    WEB = 0
    APP = 1
    MAIL = 2
    SHOP = 3
    OTHER = 4


ChannelName = Literal["web", "app", "mail", "shop", "other"]
"""A channel as people write it."""

KIND_WEIGHTS: F32 = np.array([0, 1, 0, 2, 4, 4, 8], dtype=np.float32)
"""How much an event of each `Kind` says about taste; 0 = no engagement (MODEL 3.5)."""


@dataclass(frozen=True)
class Events:
    """Events sorted by (member, at, sale); all arrays have length n, `member_ptr` members + 1."""

    sale: I32
    """Row of the sale, or NONE for a visit or an opened mail."""
    at: I64
    """UTC microseconds since 1970."""
    kind: U8
    channel: U8
    flags: U8
    value: F32
    """Money spent, 0 where none."""
    member_ptr: I64
    """Events of member m are [member_ptr[m], member_ptr[m + 1])."""

    def __post_init__(self) -> None:
        """Refuse arrays of unequal length or pointers that do not cover them."""
        lengths = {
            len(a) for a in (self.sale, self.at, self.kind, self.channel, self.flags, self.value)
        }
        if lengths != {int(self.member_ptr[-1])} or self.member_ptr[0] != 0:
            raise ValueError(
                f"event arrays of lengths {lengths}, pointers to {self.member_ptr[-1]}"
            )

    def __len__(self) -> int:
        """Count the events."""
        return len(self.sale)

    @cached_property
    def member(self) -> I32:
        """Row of the member of each event, I32[n]."""
        return np.repeat(
            np.arange(len(self.member_ptr) - 1, dtype=np.int32), np.diff(self.member_ptr)
        )

    def where(self, keep: Bool) -> Events:
        """Keep the events where the Bool[n] mask is true; order and members stay."""
        if keep.all():  # as a rule, and nothing in a shop is larger
            return self
        kept_before = np.concatenate(([0], np.cumsum(keep, dtype=np.int64)))
        return Events(
            sale=self.sale[keep],
            at=self.at[keep],
            kind=self.kind[keep],
            channel=self.channel[keep],
            flags=self.flags[keep],
            value=self.value[keep],
            member_ptr=kept_before[self.member_ptr],
        )
