"""Play the past of a world under its logging policy, and its days to come under any policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

from recsys.domain.tables import Tables
from recsys.world.days import BLOCK, Day, Totals, play_day
from recsys.world.log import Log, join
from recsys.world.policy import Named, Policy, fill, logging_policy
from recsys.world.retailer import World, make_world
from recsys.world.spec import FlashSales
from recsys.world.state import State
from recsys.world.tables import make_tables
from recsys.world.truth import Truth


@dataclass(frozen=True)
class Played:
    """A world and some days that were played in it."""

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
    return respond(
        world,
        world.start,
        policy=logging_policy,
        days=spec.num_days,
        block=block,
        order=order,
    )


def respond(
    world: World,
    state: State,
    *,
    policy: Policy,
    days: int,
    block: int = BLOCK,
    order: int = 1,
) -> Played:
    """Play days on from a state under any policy, with the same luck for every policy.

    world: made for at least `state.day + days` days. state: is not changed, so that two policies
    may start from it.

    Raises:
        ValueError: the world was made for fewer days.
    """
    logs, totals, states = [], [], [state]
    for day in _days(world, state, policy=policy, days=days, block=block, order=order):
        logs.append(day.log)
        totals.append(day.totals)
        states.append(day.state)
    return Played(world=world, log=join(logs), totals=tuple(totals), states=tuple(states))


def simulate(spec: FlashSales, policy: Named | Policy | None, days: int) -> tuple[Totals, ...]:
    """Play the past under the logging policy, then `days` more under a policy; return those.

    policy: a name, or what fills slates for `Noon`; None = go on with the logging policy. Two
    policies meet the same past, sales, members and luck, so that their difference is theirs.
    """
    world = make_world(spec, days=spec.num_days + days)
    chosen = logging_policy if policy is None else policy
    if isinstance(chosen, str):
        chosen = partial(fill, kind=chosen)
    state = world.start
    for past in _days(world, state, policy=logging_policy, days=spec.num_days):
        state = past.state
    return tuple(day.totals for day in _days(world, state, policy=chosen, days=days))


def _days(
    world: World,
    state: State,
    *,
    policy: Policy,
    days: int,
    block: int = BLOCK,
    order: int = 1,
) -> Iterator[Day]:
    """Play day after day, holding one state at a time."""
    if state.day + days > world.num_days:
        raise ValueError(
            f"a world of {world.num_days} days cannot play {days} from day {state.day}: "
            "make_world(spec, days=...) makes a longer one"
        )
    for _ in range(days):
        day = play_day(world, state, policy=policy, block=block, order=order)
        yield day
        state = day.state
