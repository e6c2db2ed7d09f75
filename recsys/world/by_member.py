"""The events of a streamed past in order of (member, at), in files that are never loaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from recsys.domain.arrays import F32, I64
from recsys.domain.events import FLAG_MACHINE, Events, Kind
from recsys.world.log import FLAG_FOUND
from recsys.world.retailer import World
from recsys.world.spread import Spread
from recsys.world.store import Store, allocate, opened
from recsys.world.turns import learnable

ALL, LEARNED = "events", "history"
"""Folders: all events, and those that may be learned from."""
DRAFT = "by_member.draft"
_TYPES = {
    "sale": np.int32,
    "at": np.int64,
    "kind": np.uint8,
    "channel": np.uint8,
    "flags": np.uint8,
    "value": np.float32,
}


@dataclass(frozen=True)
class Sorting:
    """A block's part of the sorted files."""

    folder: str
    block: int
    first: int
    """Place of its first event."""
    first_learned: int
    """Place of its first event that may be learned from."""


def read_events(store: Store, what: str) -> Events:
    """Map the sorted events."""
    place = store.folder / "by_member" / what
    arrays = {
        field.name: np.asarray(np.load(place / f"{field.name}.npy", mmap_mode="r"))
        for field in fields(Events)
    }
    return Events(**arrays)


def sort_by_member(store: Store, spread: Spread) -> None:
    """Write the events of all days once more, by member; nothing where that was done before."""
    target = store.folder / "by_member"
    if target.exists():
        return
    draft = store.folder / DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    ends = [store.day_end(day + 1) for day in range(store.spec.num_days)]
    firsts = {
        what: np.concatenate([[0], np.cumsum(np.sum([getattr(end, of) for end in ends], axis=0))])
        for what, of in ((ALL, "events"), (LEARNED, "learned"))
    }
    for what, first in firsts.items():
        (draft / what).mkdir(parents=True)
        for name, kind in _TYPES.items():
            allocate(draft / what / f"{name}.npy", np.zeros(0, dtype=kind), int(first[-1]))
        ptr = np.zeros(0, dtype=np.int64)
        allocate(draft / what / "member_ptr.npy", ptr, store.count + 1)
    jobs = [
        Sorting(str(store.folder), block, int(firsts[ALL][block]), int(firsts[LEARNED][block]))
        for block in range(store.blocks)
    ]
    for _ in spread(sort_block, jobs):
        pass
    draft.rename(target)


def sort_block(job: Sorting) -> int:
    """Write a block's events by member and return how many they are."""
    store = opened(job.folder)
    rows = store.rows(job.block)
    for what, first in ((ALL, job.first), (LEARNED, job.first_learned)):
        counts = np.zeros(rows.stop - rows.start, dtype=np.int64)
        for events in _days(store, job.block, what, only=("sale", "kind", "flags")):
            counts += np.bincount(events["member"], minlength=len(counts))
        place = Path(job.folder) / DRAFT / what
        ends = first + np.cumsum(counts)
        np.load(place / "member_ptr.npy", mmap_mode="r+")[rows.start + 1 : rows.stop + 1] = ends
        files = {name: np.load(place / f"{name}.npy", mmap_mode="r+") for name in _TYPES}
        free = ends - counts
        for events in _days(store, job.block, what):
            member = events["member"]
            rank = np.arange(len(member)) - np.searchsorted(member, member)
            at = free[member] + rank
            for name, file in files.items():
                file[at] = events[name]
            free += np.bincount(member, minlength=len(free))
    return int(counts.sum())


def _days(
    store: Store, block: int, what: str, *, only: tuple[str, ...] = ()
) -> Iterator[dict[str, np.ndarray]]:
    """Yield each day's events of a block as the shop has them; members from the block's first."""
    rows = store.rows(block)
    members = store.members(rows)
    for day in range(store.spec.num_days):
        events = store.events(day, block, *(("member", *only) if only else ()))
        events["member"] = events["member"] - rows.start
        if what == LEARNED:
            keep = np.flatnonzero(learnable(members, events))
            events = {name: of[keep] for name, of in events.items()}
        yield events if only else _as_events(store.shop, events)


def _as_events(world: World, events: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the columns of `Events`, those of one instant in the order of a dataset."""
    found = np.where(events["flags"] & FLAG_FOUND > 0, FLAG_MACHINE, 0).astype(np.uint8)
    named = {**events, "flags": found, "value": _values(world, events)}
    order = _order_of_ties(named)
    return named if order is None else {name: of[order] for name, of in named.items()}


def _values(world: World, events: dict[str, np.ndarray]) -> F32:
    """Return the money spent on each event."""
    bought = events["kind"] == Kind.PURCHASE
    price = np.round(world.sales.price[events["sale"]].astype(np.float64), 2)
    return np.where(bought, price, 0.0).astype(np.float32)


def _order_of_ties(events: dict[str, np.ndarray]) -> I64 | None:
    """Return the order by (member, at, sale, kind, channel, flags), given that by the first two.

    None where nothing happened twice in an instant.
    """
    member, at = events["member"], events["at"]
    again = (member[1:] == member[:-1]) & (at[1:] == at[:-1])
    if not again.any():
        return None
    tied = np.zeros(len(member), dtype=np.bool_)
    tied[1:] |= again
    tied[:-1] |= again
    places = np.flatnonzero(tied)
    keys = [events[name][places] for name in ("flags", "channel", "kind", "sale", "at", "member")]
    order = np.arange(len(member))
    order[places] = places[np.lexsort(keys)]
    return order
