"""Play a whole past under the logging policy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from recsys.domain.tables import Tables
from recsys.world.days import BLOCK, Totals, play_day
from recsys.world.log import Log, join
from recsys.world.policy import logging_policy
from recsys.world.retailer import World, make_world
from recsys.world.spec import FlashSales
from recsys.world.state import State
from recsys.world.tables import make_tables
from recsys.world.truth import Truth


@dataclass(frozen=True)
class Played:
    """A world and the past that was played in it."""

    world: World
    log: Log
    totals: tuple[Totals, ...]
    states: tuple[State, ...]
    """The state at each noon, the one after the last day at the end."""

    @property
    def state(self) -> State:
        """The state after the last day."""
        return self.states[-1]

    def tables(self) -> Tables:
        """Return what the shop has on record: no hidden quality, no luck, with its errors."""
        return make_tables(self.world, self.log, self.state)

    @cached_property
    def truth(self) -> Truth:
        """What nobody knows but the world."""
        return Truth(self.world, self.states)


def play(spec: FlashSales, *, block: int = BLOCK, order: int = 1) -> Played:
    """Play the past of a world; equal bits for any size of block and order of blocks (1 or -1)."""
    world = make_world(spec)
    states = [world.start]
    logs, totals = [], []
    for _ in range(spec.num_days):
        day = play_day(world, states[-1], policy=logging_policy, block=block, order=order)
        logs.append(day.log)
        totals.append(day.totals)
        states.append(day.state)
    return Played(world=world, log=join(logs), totals=tuple(totals), states=tuple(states))
