"""Stretches of a member's events, each read once for all the requests that fall into it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from recsys.domain.arrays import I64, Bool
from recsys.domain.errors import SettingError
from recsys.domain.events import DAY
from recsys.domain.requests import Requests
from recsys.towers.carry import carry
from recsys.towers.gathered import gathered
from recsys.towers.resident import SECOND, Past, Resident, Window
from recsys.towers.spec import Causal, TwoTower


@dataclass(frozen=True)
class Stretches:
    """The pasts of B requests as beginnings of M stretches."""

    window: Window
    """The M stretches."""
    key: Tensor
    """Of a stretch's dropout, int64 [M]."""
    of: Tensor
    """Which stretch holds each request's past, int64 [B]."""
    seen: Tensor
    """How many of its events that past holds, int64 [B]."""
    turn: Tensor
    """Which of the requests of its stretch each is, int64 [B]."""
    late: Tensor
    """Days between each request and its stretch's instant, float32 [B]."""
    most: int
    """Requests of a stretch, at most."""

    def grid(self) -> tuple[Tensor, Tensor]:
        """Return days between requests and events, and which events come before.

        Both [M, most, L], events newest first.
        """
        days, seen = self._laid(self.late), self._laid(self.seen)
        place = (
            self.window.valid.sum(dim=1, keepdim=True)
            - 1
            - torch.arange(self.window.valid.shape[1], device=self.of.device)
        )
        before = (place[:, None] < seen[..., None]) & self.window.valid[:, None]
        return (self.window.days[:, None] - days[..., None]).clamp(min=0), before

    def _laid(self, values: Tensor) -> Tensor:
        """Lay values of requests [B] out by stretch and turn, 0 elsewhere, [M, most]."""
        laid = torch.zeros(len(self.key) * self.most, dtype=values.dtype, device=values.device)
        return laid.index_copy(0, self.of * self.most + self.turn, values).view(-1, self.most)

    def on_grid(self, values: Tensor) -> Tensor:
        """Take what belongs to each request [B, D] from [M, most, D]."""
        return gathered(self.of * self.most + self.turn, values.flatten(0, 1))

    def at_requests(self, states: Tensor) -> Tensor:
        """Take from states after each event [M, L, D], oldest first, those asked for, [B, D].

        Zero for a blank past.
        """
        last = self.of * states.shape[1] + (self.seen - 1).clamp(min=0)
        return gathered(last, states.flatten(0, 1)) * (self.seen > 0)[:, None]


@dataclass(frozen=True)
class Cut:
    """Training requests dealt to stretches of at most `length` events that end with a request's.

    A member's last stretch ends with the last past, the one before it where that begins, and so
    on: a request sees what its stretch holds before it, so pasts of all lengths are learned from.
    """

    of: I64
    """Which stretch each request falls into, I64[r]."""
    member: I64
    """Whose each is, I64[n]."""
    end: I64
    """Where in the history each ends, I64[n]."""
    at: I64
    """UTC us of its last request, I64[n]."""
    length: int

    @classmethod
    def of_requests(cls, requests: Requests, *, length: int) -> Cut:
        """Cut the pasts of requests."""
        member = requests.member.astype(np.int64)
        last = np.zeros(int(member.max(initial=-1)) + 1, dtype=np.int64)
        np.maximum.at(last, member, requests.history_end)
        back = (last[member] - requests.history_end) // length
        most = int(back.max(initial=0)) + 1
        found, of = np.unique(member * most + back, return_inverse=True)
        whose = found // most
        at = np.zeros(len(found), dtype=np.int64)
        np.maximum.at(at, of, requests.at)
        return cls(of.astype(np.int64), whose, last[whose] - found % most * length, at, length)

    def __len__(self) -> int:
        """Count the stretches."""
        return len(self.member)

    def carried(self, requests: Requests, rows: I64, resident: Resident) -> Stretches:
        """Gather the stretches that some requests fall into, on the device."""
        used, of = np.unique(self.of[rows], return_inverse=True)
        past = Past(self.member[used], self.end[used], self.at[used])
        start = np.maximum(resident.member_ptr[past.member], past.end - self.length)
        seen = requests.history_end[rows] - start[of]
        order = np.argsort(of, kind="stable")
        count = np.bincount(of, minlength=len(used))
        turn = np.empty_like(of)
        turn[order] = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
        # whole seconds count, as in windows
        late = (past.at[of] - resident.epoch) // SECOND - (
            requests.at[rows] - resident.epoch
        ) // SECOND
        host = carry(np.stack((of, seen, turn, late)), resident.device)
        return Stretches(
            window=resident.window(past, length=self.length),
            key=carry(past.end, resident.device),
            of=host[0],
            seen=host[1],
            turn=host[2],
            late=host[3].float() * (SECOND / DAY),
            most=int(count.max(initial=1)),
        )


_PERIODS, _LOST = 16, 0.01
"""Decision times that are left where a setting does not say how many days share one, and the share
of outcomes that this may cost."""


def in_periods(requests: Requests, towers: TwoTower) -> Requests:
    """Return requests as the settings let them share decision times; as they are without stretches.

    Raises:
        SettingError: they are to share one, and each decision time has a shelf of its own.
    """
    encoder: object = towers.encoder
    if not isinstance(encoder, Causal) or requests.hidden_share:
        return requests
    if encoder.period_days == 1 or not len(requests):
        return requests
    where = _places(requests)
    if where is None:
        if not encoder.period_days:
            return requests
        raise SettingError(
            "towers.encoder.period_days lets days share a shelf",
            "here each decision time has its own",
            "leave it at 0",
        )
    days = encoder.period_days or _days(requests, where)
    return requests if days == 1 else by_period(requests, where, days)


def by_period(requests: Requests, where: I64, days: int) -> Requests:
    """Let requests within so many days share one decision time: the first of them.

    A step reads whole stretches, whatever their times, and each decision time is one more row of
    columns. What launched since that time is not on the shelf, and so no outcome. `where` I64[S] is
    each sale's place on the shelf that all share.
    """
    used, first, group = _periods(requests, days)
    merged = replace(
        requests,
        group_at=requests.group_at[used][first],
        shelf_start=requests.shelf_start[used][first],
        shelf_end=requests.shelf_end[used][first],
        group=group.astype(np.int32),
    ).keeping(_there(requests, where, days))
    return merged.take(np.lexsort((merged.at, merged.member, merged.group)))


def _periods(requests: Requests, days: int) -> tuple[I64, I64, I64]:
    """Return the groups that have requests, which of them begin a period, and whose is whose."""
    used, group = np.unique(requests.group, return_inverse=True)
    at = requests.group_at[used]
    first = np.flatnonzero(np.diff((at - at[0]) // (days * DAY), prepend=-1))
    return used.astype(np.int64), first, np.searchsorted(first, group, side="right") - 1


def _there(requests: Requests, where: I64, days: int) -> Bool:
    """Tell which outcomes stand on the shelf of their period's first decision time, Bool[t]."""
    used, first, group = _periods(requests, days)
    row = np.repeat(group, np.diff(requests.target_ptr))
    start, end = requests.shelf_start[used][first][row], requests.shelf_end[used][first][row]
    place = where[requests.target_sale]
    found: Bool = (place >= start) & (place < end)
    return found


def _days(requests: Requests, where: I64) -> int:
    """Return as many days as leave 16 decision times, fewer where that costs many outcomes."""
    at = requests.group_at[np.unique(requests.group)]
    days = max(1, round((int(at[-1]) - int(at[0])) / (DAY * _PERIODS)))
    if len(at) <= _PERIODS:
        return 1
    while days > 1 and 1 - _there(requests, where, days).mean() > _LOST:
        days //= 2
    return days


def _places(requests: Requests) -> I64 | None:
    """Return where each sale stands on the one shelf that grows from group to group, else None."""
    grows = (requests.shelf_start == requests.shelf_start[:1]).all() and (
        np.diff(requests.shelf_end) >= 0
    ).all()
    cells = np.arange(len(requests.shelf_sale))
    place = np.full(int(requests.shelf_sale.max(initial=-1)) + 1, -1)
    place[requests.shelf_sale] = cells
    return place if grows and np.array_equal(place[requests.shelf_sale], cells) else None
