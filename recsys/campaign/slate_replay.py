"""Slates made again beside the log: the same sales, with the same chances, or the log is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys.campaign.slate_log import Send
from recsys.campaign.slate_shards import log_chances
from recsys.domain.arrays import F32, I64, NONE, Bool
from recsys.domain.errors import DataRefusedError
from recsys.domain.slates import Slates

TOLERANCE = 1e-5
"""Largest difference of two log propensities that are called the same (DECISION 7)."""


@dataclass(frozen=True)
class Replay:
    """What comparing a log with slates made again found."""

    slots: int
    """Slots compared: those that the log or the new slates of its members fill."""
    other_sales: int
    """Slots that hold another sale now, or are filled in one of the two alone."""
    largest: float
    """Largest difference of log propensity where the sale is the same; NaN = one has none."""
    repaired: int
    """Slots left out: their sale was swapped after the policy had chosen."""

    @property
    def agrees(self) -> bool:
        """Whether every slot was made again, its chance within 1e-5; no slot agrees with none."""
        return self.slots > 0 and self.other_sales == 0 and self.largest <= TOLERANCE


def replayed(log: pl.DataFrame, again: Slates | Callable[[I64], Slates], send: Send) -> Replay:
    """Compare some rows of a log with the slates of the same members, made again.

    `again` are these slates, or make them for member rows I64[n], ascending. Members who were sent
    nothing are left out, for it is not their slate that decided so. For bounded memory replay a
    shard at a time.

    Raises:
        DataRefusedError: the log knows another send, or members or sales that `send` does not.
    """
    rows = log.filter(pl.col("send_id") == send.send_id, pl.col("slot") >= 0)
    if rows.is_empty() and not log.is_empty() and not (log["send_id"] == send.send_id).any():
        raise DataRefusedError(f"the log holds no row of send {send.send_id}")
    member, sale = (
        send.members.rows(rows["member_id"]).astype(np.int64),
        send.sales.rows(rows["sale_id"]).astype(np.int64),
    )
    unknown = int((member == NONE).sum() + (sale == NONE).sum())
    if unknown:
        raise DataRefusedError(f"{unknown} ids of the log are not those of send {send.send_id}")
    sent = np.unique(member)
    slates = again(sent) if callable(again) else again
    return _compared(_Log(member, rows["slot"].to_numpy(), sale, log_chances(rows)), slates, sent)


@dataclass(frozen=True)
class _Log:
    member: I64
    slot: np.ndarray
    sale: I64
    chance: F32


def _compared(log: _Log, slates: Slates, sent: I64) -> Replay:
    """Lay log and slates side by side: one line a member of `sent`, one column a slot."""
    width = max(slates.sales.shape[1], int(log.slot.max(initial=-1)) + 1)
    line = np.searchsorted(sent, log.member)
    logged = np.full((len(sent), width), NONE, dtype=np.int64)
    logged[line, log.slot] = log.sale
    before = np.zeros((len(sent), width), dtype=np.float32)
    before[line, log.slot] = log.chance
    now, after = np.full_like(logged, NONE), np.zeros_like(before)
    own = np.isin(slates.members, sent)
    line = np.searchsorted(sent, slates.members[own])
    slots = slates.sales.shape[1]
    now[line, :slots], after[line, :slots] = slates.sales[own], slates.log_propensity[own]
    repaired: Bool = np.isnan(before)
    asked = ((logged != NONE) | (now != NONE)) & ~repaired
    same = asked & (logged == now)
    off = np.abs(before[same].astype(np.float64) - after[same])
    return Replay(
        slots=int(asked.sum()),
        other_sales=int((asked & ~same).sum()),
        largest=float(off.max(initial=0.0)),
        repaired=int(repaired.sum()),
    )
