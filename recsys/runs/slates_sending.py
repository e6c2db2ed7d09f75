"""One send from one seat: the members of a shard in, their slates as rows of the log and a mail."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.campaign import mailing
from recsys.campaign.arms import HOLD_OUT, OUTSIDE, Experiment
from recsys.campaign.deciding import Decided, decide
from recsys.campaign.pace import Way
from recsys.campaign.slate_log import Send, Served, rows_of
from recsys.data.vocab import Vocab
from recsys.domain.arrays import I16, I32, NONE, Bool
from recsys.domain.clock import utc_of
from recsys.domain.events import Channel
from recsys.rerank.spec import Rerank
from recsys.runs.slates_seat import Seat

KINDS = ("campaign.parquet", "campaign.csv", "log.parquet")
"""Files of a shard in the order in which they are made: the log is last, so that where it stands,
the others do."""


@dataclass(frozen=True)
class Job:
    """What is the same for all shards of a send."""

    bundle: Path
    fingerprint: str
    """Of the bundle."""
    at: int
    """UTC us."""
    rerank: Rerank
    """How slates are made."""
    send_id: str
    channel: str
    arms: Experiment | None
    policies: tuple[str, str, str]
    """Ids of the policies, in the order of `Way`."""
    kinds: tuple[str, ...] = KINDS
    """Of files, some of KINDS in their order."""

    @property
    def slots(self) -> int:
        """Count the places of a slate."""
        return self.rerank.slots

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups members may be in."""
        return (OUTSIDE,) if self.arms is None else self.arms.groups

    def names(self, number: int) -> tuple[str, ...]:
        """Return the files of a shard, in the order in which they are made."""
        return tuple(
            f"{folder}/part-{number:05}.{ending}"
            for folder, ending in (kind.split(".") for kind in self.kinds)
        )


@dataclass(frozen=True)
class Dealt:
    """The m members of one shard, in the order of their rows."""

    ids: pl.Series
    rows: I32
    group: I16
    """Of `Job.groups`, I16[m]."""


@dataclass(frozen=True)
class Filled:
    """The slates of a shard, and how they were made."""

    dealt: Dealt
    decided: Decided
    way: Way
    repaired: int = 0
    """Slates on which a sale was swapped afterwards."""


@dataclass(frozen=True)
class Sending:
    """Makes the slates of one send."""

    seat: Seat
    job: Job

    def fill(self, dealt: Dealt, way: Way) -> Filled:
        """Make the slates of some members.

        The hold-out gets the plain one, and so does who withholds consent.
        """
        own, seat = self._may(dealt) & (way != Way.PLAIN), self.seat
        decided = decide(seat.ranker_for(way), seat.audience(dealt.rows), own, keys=seat.keys)
        return Filled(dealt, decided, way)

    def consents(self, dealt: Dealt) -> Bool:
        """Return who consents to personal slates, Bool[m]."""
        return np.array(self.seat.parts.personalise[dealt.rows])

    def _may(self, dealt: Dealt) -> Bool:
        """Return who gets a slate of their own where there is time, Bool[m]."""
        may = self.consents(dealt)
        if self.job.arms is not None:
            may &= dealt.group != self.job.groups.index(HOLD_OUT)
        return may

    def segment(self, rows: I32) -> I16:
        """Return the segment of some members, I16[m], or NONE."""
        known = self.seat.ranker.house.segment
        return known[rows] if len(known) else np.full(len(rows), NONE, dtype=np.int16)

    def said(self, filled: Filled) -> dict[str, Any]:
        """Return what is to be known of a shard without reading it.

        `shown` counts the slates of members' own by segment and column of the shelf, as they were
        decided; `served` these slates by segment. The last segment is that of members of none.
        `seen` counts all slates by column, `late` the members who lack one of their own for time.
        """
        own, dealt = filled.decided.personal, filled.dealt
        segments, width = len(self.seat.ranker.house.segments), len(self.seat.shelf)
        segment = self.segment(dealt.rows)[own].astype(np.int64)
        row = np.where(segment == NONE, segments, segment)
        columns = self.seat.columns(filled.decided.slates.sales)
        seen = np.bincount(columns[columns != NONE], minlength=width)
        columns = columns[own]
        cell = (row[:, None] * width + columns)[columns != NONE]
        shown = np.bincount(cell, minlength=(segments + 1) * width)
        in_group = np.bincount(dealt.group, minlength=len(self.job.groups))
        return {
            "way": filled.way.name.lower(),
            "members": len(own),
            "own": int(own.sum()),
            "late": int(self._may(dealt).sum()) if filled.way == Way.PLAIN else 0,
            "withheld": int((~self.consents(dealt)).sum()),
            "arms": dict(zip(self.job.groups, in_group.tolist(), strict=True)),
            "served": np.bincount(row, minlength=segments + 1).tolist(),
            "shown": shown.reshape(segments + 1, width).tolist(),
            "seen": seen.tolist(),
            "repaired": filled.repaired,
        }

    def mail_rows(self, filled: Filled) -> pl.DataFrame:
        """Return the rows of the mailer's file."""
        decided, info = filled.decided, self.seat.parts.info
        return mailing.mail_rows(
            decided.slates, decided.personal, members=filled.dealt.ids, info=info
        )

    def log_rows(self, filled: Filled) -> pl.DataFrame:
        """Return the rows of the slate log."""
        own, dealt = filled.decided.personal, filled.dealt
        way = np.where(own, filled.way, Way.PLAIN)
        at = utc_of(self.job.at)
        send = Send(
            send_id=self.job.send_id,
            decided_at=at,
            delivered_for=at,
            channel=Channel[self.job.channel.upper()],
            bundle=self.job.fingerprint,
            seed=0,
            members=Vocab(dealt.ids),
            sales=self._sales,
            curated=self._curated,
            served=self._served,
            group=(dealt.group * len(Way) + way).astype(np.int16),
            rules=tuple(self.seat.ranker.house.rules.table["rule_id"].to_list()),
        )
        # in the log of one shard a member's row is their place in it
        slates = replace(filled.decided.slates, members=np.arange(len(dealt.rows)))
        return rows_of(slates, send, filled.decided.offered)

    @cached_property
    def _served(self) -> tuple[Served, ...]:
        prices = self.seat.ranker.house.prices
        priced = None if prices is None else prices.fingerprint
        return tuple(
            Served(arm, self.job.policies[way], None if way == Way.PLAIN else priced)
            for arm in self.job.groups
            for way in Way
        )

    @cached_property
    def _sales(self) -> Vocab:
        return Vocab(self.seat.sales)

    @cached_property
    def _curated(self) -> Bool:
        curated = np.zeros(len(self.seat.sales), dtype=np.bool_)
        curated[self.seat.shelf.sales[self.seat.shelf.curated]] = True
        return curated
