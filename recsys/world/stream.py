"""A past of any size in bounded memory: day after day, blocks of members in any order."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from recsys.domain.disk import take_lock
from recsys.domain.errors import ArtefactError, NoRoomError
from recsys.domain.events import Events
from recsys.world.by_member import ALL, LEARNED, read_events, sort_by_member
from recsys.world.carry import fade
from recsys.world.days import BLOCK, Counts, Totals, total
from recsys.world.lived import joined
from recsys.world.log import Log
from recsys.world.members import joining
from recsys.world.retailer import World, make_shop
from recsys.world.spec import FlashSales
from recsys.world.spread import Spread, in_turn
from recsys.world.state import State
from recsys.world.stock import serve
from recsys.world.store import DayEnd, Store, create, read_header
from recsys.world.turns import Turn, Turned, turn

OF_A_MEMBER, OF_A_DAY = 600, 60
"""Bytes on disk, measured: of members and state, and of what a member does in a day."""
Told = Callable[[int, int], None]
"""Hears how many days are over, and of how many."""


class Past:
    """A past in a folder: what `Played` holds, mapped or read piece by piece."""

    def __init__(self, folder: Path) -> None:
        """Open a past that `stream` has finished.

        Raises:
            MissingArtefactError: it is not there.
            ArtefactError: it was begun and is not finished.
        """
        self.store = Store(folder)
        if not (folder / "by_member").exists():
            raise ArtefactError(
                f"{folder} holds an unfinished past: {max(0, self.store.days_over - 1)} of "
                f"{self.store.spec.num_days} days",
                "go on with it: recsys.world.stream(spec, folder)",
            )

    @cached_property
    def world(self) -> World:
        """The world, its members mapped."""
        shop, everybody = self.store.shop, slice(0, self.store.count)
        return World(
            spec=shop.spec,
            noons=shop.noons,
            brands=shop.brands,
            sales=shop.sales,
            members=self.store.members(everybody),
        )

    @property
    def state(self) -> State:
        """The state after the last day, mapped."""
        return self.store.state(self.store.spec.num_days, slice(0, self.store.count))

    @cached_property
    def totals(self) -> tuple[Totals, ...]:
        """What each day brought."""
        ends = [self.store.day_end(day) for day in range(self.store.spec.num_days + 1)]
        return tuple(
            Totals(**json.loads(str(end.totals)), unsubscribes=int(after.unsubscribed))
            for end, after in pairwise(ends)
        )

    def logs(self) -> Iterator[Log]:
        """Yield what happened, by day and block."""
        for day in range(self.store.spec.num_days):
            for block in range(self.store.blocks):
                yield self.store.log(day, block)

    @cached_property
    def events(self) -> Events:
        """All events by member, mapped; a purchase in the shop under who made it.

        Rows are those of the world: members in order of joining, sales in order of opening.
        """
        return read_events(self.store, ALL)

    @cached_property
    def history(self) -> Events:
        """Those of the events that may be learned from, as `Dataset.history` has them, mapped."""
        return read_events(self.store, LEARNED)


def stream(
    spec: FlashSales,
    folder: Path,
    *,
    spread: Spread = in_turn,
    block: int = BLOCK,
    told: Told | None = None,
) -> Past:
    """Play the past of a world into a folder, or go on with one that was cut short there.

    Equal bits to `play` for any `block` and any `spread`; memory is that of one block for each
    process, and of one day's attempts to buy. A folder that was begun keeps its size of block.

    Raises:
        SettingError: the folder holds another world.
        ArtefactError: another process is at work there.
        NoRoomError: the disk does not hold what would be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        nobody = make_shop(spec)
        if read_header(folder) is None:
            _room(folder, spec)
        create(folder, spec, block=block, example=(nobody.members, nobody.start))
        store = Store(folder)
        joins = joining(spec, days=spec.num_days)
        for day in range(store.days_over, spec.num_days + 1):
            jobs = [Turn(str(folder), day, number, joins) for number in range(store.blocks)]
            turned = sorted(spread(turn, jobs), key=lambda done: done.block)
            store.put_day_end(day, _end(store, day, turned))
            if told is not None and day:
                told(day, spec.num_days)
        sort_by_member(store, spread)
    return Past(folder)


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Hold a folder's lock, which goes with the process."""
    handle = take_lock(folder / ".lock")
    if handle is None:
        raise ArtefactError(f"{folder} is being written", "wait for it, or name another folder")
    try:
        yield
    finally:
        os.close(handle)


def _room(folder: Path, spec: FlashSales) -> None:
    """Check that the disk holds what comes."""
    needed = spec.num_members * (OF_A_MEMBER + OF_A_DAY * spec.num_days)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NoRoomError(
            f"{folder} has {free / 1e9:,.1f} GB free, this past needs about {needed / 1e9:,.1f} GB",
            "free some space, name a folder on another disk, or play fewer members or days",
        )


def _end(store: Store, day: int, turned: Sequence[Turned]) -> DayEnd:
    """Serve a day's attempts over all blocks and sum it up."""
    world = store.shop
    before = store.state(day, slice(0, 0))
    begun = [done.begun for done in turned]
    tried = joined([one.tried for one in begun])
    served = serve(tried, stock_left=before.stock_left, sold_out_at=before.sold_out_at)
    counts = sum((one.counts for one in begun), Counts(0, 0, 0, 0))
    views = np.sum([one.brand_views for one in begun], axis=0)
    totals = asdict(total(world, counts, tried, served=served, day=day, unsubscribes=0))
    del totals["unsubscribes"]
    sizes = [len(one.tried.sale) for one in begun]
    finished = [done.finished for done in turned]
    return DayEnd(
        stock_left=served.stock_left,
        sold_out_at=served.sold_out_at,
        brand_views=fade(before.brand_views, views),
        bought=served.bought,
        bought_ptr=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        totals=np.array(json.dumps(totals)),
        unsubscribed=np.array(sum(one.unsubscribed for one in finished), dtype=np.int64),
        events=np.array([one.events for one in finished], dtype=np.int64),
        learned=np.array([one.learned for one in finished], dtype=np.int64),
    )
