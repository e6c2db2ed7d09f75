"""The unit everything is built on: a member, an instant, the shelf then, what happened after."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recsys.domain.arrays import F32, I32, I64, U8, Bool
from recsys.domain.events import Events
from recsys.domain.shelf import Shelf


@dataclass(frozen=True)
class Requests:
    """Requests sorted by (group, member, at). A group shares one shelf.

    r requests, g groups, t targets, c cells of all shelves.
    """

    group_at: I64
    """Decision time of each group's shelf, I64[g], UTC us, ascending."""
    shelf_start: I64
    """I64[g]: the shelf of group j is shelf_sale[shelf_start[j]:shelf_end[j]]."""
    shelf_end: I64
    """I64[g]; groups may share cells (a catalogue that never closes is one array)."""
    shelf_sale: I32
    """Sale rows, I32[c]."""
    shelf_curated: Bool
    """Picked by an editor at that instant, Bool[c]."""
    member: I32
    """I32[r]."""
    at: I64
    """Decision time of each request, I64[r]; equals group_at[group] for shelf tasks."""
    group: I32
    """I32[r], ascending."""
    history_end: I64
    """I64[r]: the member's past is Dataset.history[member_ptr[member]:history_end]."""
    target_ptr: I64
    """I64[r + 1]."""
    target_sale: I32
    """Sale rows engaged with in [at, at + outcome), or before where `hidden_share` is above 0,
    I32[t]; all on the group's shelf."""
    target_kind: U8
    """Strongest event on that sale in the window (domain.events.Kind), U8[t]."""
    target_weight: F32
    """KIND_WEIGHTS of it, divided so that each request's weights sum to 1, F32[t]."""
    outcome_us: int
    """Length of the outcome window in microseconds."""
    exclude_seen: bool = False
    """What a member engaged with before is no candidate."""
    hidden_share: float = 0.0
    """Above 0, the outcomes stand in the past, a set without order: each step of training hides
    one with this chance, drawn anew, and asks for the hidden ones alone."""

    def __len__(self) -> int:
        """Count the requests."""
        return len(self.member)

    @property
    def num_groups(self) -> int:
        """Count the groups."""
        return len(self.group_at)

    def rows(self, group: int) -> slice:
        """Return the slice of requests that belong to a group."""
        first, last = np.searchsorted(self.group, [group, group + 1])
        return slice(int(first), int(last))

    def shelf(self, group: int) -> I32:
        """Return the sale rows on a group's shelf, I32[s]."""
        return self.shelf_sale[self.shelf_start[group] : self.shelf_end[group]]

    def curated(self, group: int) -> Bool:
        """Return which sales of a group's shelf an editor picked, Bool[s]."""
        return self.shelf_curated[self.shelf_start[group] : self.shelf_end[group]]

    def past(self, rows: slice, member_ptr: I64) -> tuple[I64, I64]:
        """Return the earlier engagements of some requests: which of them, and where in the history.

        Both I64[e], ascending; `member_ptr` I64[m + 1] is the history's.
        """
        start = member_ptr[self.member[rows]]
        count = self.history_end[rows] - start
        row = np.repeat(np.arange(len(count)), count)
        first = np.cumsum(count) - count
        return row, np.arange(len(row)) + (start - first)[row]

    def unseen(self, scores: F32, rows: slice, history: Events) -> F32:
        """Put -inf on what is no candidate of some requests of one group, scores F32[n, s]."""
        if not self.exclude_seen:
            return scores
        shelf = self.shelf(int(self.group[rows.start]))
        row, event = self.past(rows, history.member_ptr)
        column = np.full(int(shelf.max(initial=-1)) + 2, -1)
        column[shelf] = np.arange(len(shelf))
        seen = column[np.minimum(history.sale[event], len(column) - 1)]
        hidden = scores.copy()
        hidden[row[seen >= 0], seen[seen >= 0]] = -np.inf
        return hidden

    def keeping(self, outcomes: Bool) -> Requests:
        """Leave out outcomes (Bool[t]); weights sum to 1 again, requests left without one go."""
        row = np.repeat(np.arange(len(self)), np.diff(self.target_ptr))[outcomes]
        count = np.bincount(row, minlength=len(self))
        weight = self.target_weight[outcomes]
        kept = replace(
            self,
            target_ptr=np.concatenate(([0], np.cumsum(count))).astype(np.int64),
            target_sale=self.target_sale[outcomes],
            target_kind=self.target_kind[outcomes],
            target_weight=(weight / np.bincount(row, weights=weight)[row]).astype(np.float32),
        )
        return kept.take(np.flatnonzero(count))

    @classmethod
    def now(cls, members: I32, shelf: Shelf, history_end: I64) -> Requests:
        """Make one group of requests without outcomes: members I32[r] before a shelf.

        `history_end` I64[r] is where each member's known past ends.
        """
        return cls(
            group_at=np.array([shelf.at], dtype=np.int64),
            shelf_start=np.zeros(1, dtype=np.int64),
            shelf_end=np.array([len(shelf)], dtype=np.int64),
            shelf_sale=shelf.sales,
            shelf_curated=shelf.curated,
            member=members,
            at=np.full(len(members), shelf.at, dtype=np.int64),
            group=np.zeros(len(members), dtype=np.int32),
            history_end=history_end,
            target_ptr=np.zeros(len(members) + 1, dtype=np.int64),
            target_sale=np.zeros(0, dtype=np.int32),
            target_kind=np.zeros(0, dtype=np.uint8),
            target_weight=np.zeros(0, dtype=np.float32),
            outcome_us=0,
        )

    def take(self, rows: I64) -> Requests:
        """Keep some requests (ascending row numbers I64[k]); groups and shelves stay."""
        counts = np.diff(self.target_ptr)[rows]
        target_ptr = np.concatenate(([0], np.cumsum(counts)))
        cells = np.repeat(self.target_ptr[rows] - target_ptr[:-1], counts) + np.arange(
            target_ptr[-1]
        )
        return Requests(
            group_at=self.group_at,
            shelf_start=self.shelf_start,
            shelf_end=self.shelf_end,
            shelf_sale=self.shelf_sale,
            shelf_curated=self.shelf_curated,
            member=self.member[rows],
            at=self.at[rows],
            group=self.group[rows],
            history_end=self.history_end[rows],
            target_ptr=target_ptr,
            target_sale=self.target_sale[cells],
            target_kind=self.target_kind[cells],
            target_weight=self.target_weight[cells],
            outcome_us=self.outcome_us,
            exclude_seen=self.exclude_seen,
            hidden_share=self.hidden_share,
        )
