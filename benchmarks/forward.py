"""What our stack is worth when it is played for weeks: python -m benchmarks.forward [--quick].

The built-in world, whose truth is known. The logging policy plays a past, the stack is fitted on
it, and from there each policy plays the same days with the same luck: the most valuable sales
alone (top-N), the same with two fixed places for what is new, the full stack at its defaults, and
the full stack with one part removed. Each is compared by the euros, purchases, first buyers of a
brand and unsubscriptions it brings, at five settings of what novelty is worth and what dull mails
cost. The world changes its setting at the fork: its past, and what was learned, stay.

The bars are our own targets, in our own world: nothing here says what a shop would gain.
Intervals are a bootstrap by member over all worlds, paired; what differs between worlds and
between fits is in the least and the most by world alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.cells import load_now, machine
from benchmarks.turns import Row, Spread, line, verdict
from recsys.domain.arrays import F64
from recsys.domain.events import Kind
from recsys.evaluate.intervals import Draws, means
from recsys.rerank.diversity import TopK
from recsys.rerank.spec import Blend, Pure
from recsys.runs.forward import PLANS, Plan, Start, forward, start
from recsys.runs.spec import Train
from recsys.towers.spec import Cpu, TwoTower
from recsys.world.days import Day
from recsys.world.log import FLAG_NEW
from recsys.world.spec import FlashSales

MEASURES = ("margin", "purchases", "first buyers", "first purchases", "unsubscribed")
"""Euros; purchases; members who bought a brand for the first time; how often; who left the mail."""
BARS = {"margin": 0.02, "first buyers": 0.30}
"""What the full stack should bring more than top-N at the defaults."""
WORTHLESS = "discovery_value 0"
"""Where novelty has no value, no margin may be won by it."""
CELLS: Mapping[str, Mapping[str, float]] = {
    "defaults": {},
    WORTHLESS: {"discovery_value": 0.0},
    "discovery_value 2": {"discovery_value": 2.0},
    "irritation 0": {"irritation": 0.0},
    "irritation 2": {"irritation": 2.0},
}
WITHOUT: Mapping[str, Plan] = {
    "dial at 0": Plan(Blend(novelty=0.0)),
    "no variety": Plan(Blend(diversity=TopK())),
    "no fatigue": Plan(Blend(fatigue=1.0)),
    "no curated boost": Plan(Blend(curated_boost=1.0)),
    "no explorers": Plan(Blend(explore_share=0.0)),
    "no cap": Plan(Blend(most_new=0)),
}
"""The full stack with one part removed."""
_PLAIN = Blend(novelty=0.0, curated_boost=1.0, most_new=0)
OTHERS: Mapping[str, Plan] = {
    "top-N by price": Plan(Pure(worth="price")),
    "stack by price": Plan(Blend(worth="price")),
    "plain stack": Plan(_PLAIN),
    "plain stack by price": Plan(_PLAIN.model_copy(update={"worth": "price"})),
}
"""The same two where a purchase counts by the price of its sale, and the stack without all that is
an editor's wish: the dial, the boost of picks, the cap on what is new. No bar is held to these."""
SEEDS = (1, 2, 3)
DAYS = 60
_DRAWS, _SEED = 2_000, 1


@dataclass(frozen=True)
class Brought:
    """What a policy brought in one world, F64[members, MEASURES]."""

    by_member: F64

    @classmethod
    def by(cls, begun: Start, plan: Plan, *, days: int) -> Brought:
        """Play a plan and add up what each member brought."""
        return cls.of(begun, forward(begun, plan, days=days))

    @classmethod
    def of(cls, begun: Start, days: Iterable[Day]) -> Brought:
        """Add up what each member brought in days played on from a start."""
        sales, size = begun.world.sales, len(begun.world.members)
        cents = np.round(100 * sales.price.astype(np.float64))
        margin = np.round(cents * sales.margin_share) / 100
        found = np.zeros((size, len(MEASURES)))
        state = begun.state
        for day in days:
            bought = day.log.kind == Kind.PURCHASE
            member, new = day.log.member[bought], day.log.flags[bought] & FLAG_NEW > 0
            found[:, 0] += np.bincount(member, margin[day.log.sale[bought]], minlength=size)
            found[:, 1] += np.bincount(member, minlength=size)
            found[:, 3] += np.bincount(member[new], minlength=size)
            found[:, 4] += state.subscribed & ~day.state.subscribed
            state = day.state
        found[:, 2] = found[:, 3] > 0
        return cls(found)


Worlds = Sequence[Mapping[str, Brought]]
"""Of each world, what each policy brought."""


def settings(seed: int, *, members: int = 5_000, quick: bool = False) -> Train:
    """Return a world and the stack that is fitted on its past."""
    if quick:
        return Train(
            data=FlashSales(members=400, days=16, seed=seed, value_days=3, calibration_days=2),
            towers=TwoTower(dim=16, epochs=1),
            trainer=Cpu(threads=1),
        )
    # few members buy in a day: the value model gets more of them than is usual
    data = FlashSales(
        members=members, days=45, seed=seed, value_days=7, calibration_days=5, test_days=1
    )
    return Train(data=data, trainer=Cpu(threads=1))


def plans_of(cell: str) -> dict[str, Plan]:
    """Return what is played in a cell: each part is removed at the defaults alone.

    The dial is also where novelty has no value.
    """
    removed = {"defaults": tuple(WITHOUT), WORTHLESS: ("dial at 0",)}.get(cell, ())
    others = OTHERS if cell == "defaults" else {}
    return {**PLANS, **others, **{name: WITHOUT[name] for name in removed}}


def started(seeds: Sequence[int], *, days: int, quick: bool) -> list[Start]:
    """Play the past of each world and fit the stack on it."""
    found = []
    for seed in seeds:
        with TemporaryDirectory() as folder:
            found.append(start(settings(seed, quick=quick), days=days, folder=Path(folder)))
    return found


def compared(worlds: Worlds, name: str, *, beside: str) -> list[Row]:
    """Return how much more a policy brought than another, a row a measure.

    Low and high are the 95 % interval of paired draws of members, of all worlds together.
    """
    both = [np.concatenate([world[one].by_member for world in worlds]) for one in (beside, name)]
    members = np.arange(len(both[0]), dtype=np.int32)
    figures = means(np.concatenate(both, axis=1), Draws.of(members, _DRAWS, _SEED))
    rows = []
    for number, measure in enumerate(MEASURES):
        theirs, ours = number, number + len(MEASURES)
        gain = _gain(figures.value[ours], figures.value[theirs])
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = np.nan_to_num(figures.sample[:, ours] / figures.sample[:, theirs] - 1)
        low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
        spread = Spread(gain, min(low, gain), max(high, gain), len(members))
        rows.append(Row.of(f"{name}: {measure}", spread, "share", ratio_to=beside))
    return rows


def by_world(worlds: Worlds, name: str, *, beside: str, measure: str) -> list[float]:
    """Return how much more a policy brought than another in each world."""
    column = MEASURES.index(measure)
    return [
        _gain(*(float(world[one].by_member[:, column].sum()) for one in (name, beside)))
        for world in worlds
    ]


def _gain(ours: float, theirs: float) -> float:
    return float(ours / theirs - 1) if theirs else 0.0


def told(cell: str, worlds: Worlds) -> list[Row]:
    """Print the table of a cell; return its rows, the bars beside those they are for."""
    print(f"  {cell + ', beside top-N':30}" + "".join(f"{name:>25}" for name in MEASURES))
    print(_line("top-N, in all", [f"{one:,.0f}" for one in _sums(worlds, "value")]))
    rows = []
    for name in ("slots", "stack", *(one for one in OTHERS if one in worlds[0])):
        found = compared(worlds, name, beside="value")
        print(_line(name, [_shown(row) for row in found]))
        for measure in BARS:
            each = by_world(worlds, name, beside="value", measure=measure)
            print(f"    by world, {measure}: {', '.join(f'{one:+.1%}' for one in each)}")
        rows += [_judged(cell, row) if name == "stack" else row for row in found]
    removed = [name for name in worlds[0] if name in WITHOUT]
    if removed:
        print(f"  {cell}, beside the full stack")
    for name in removed:
        found = compared(worlds, name, beside="stack")
        print(_line(name, [_shown(row) for row in found]))
        rows += found
    return [replace(row, name=f"{cell}: {row.name}") for row in rows]


def _sums(worlds: Worlds, name: str) -> list[float]:
    total: list[float] = sum(world[name].by_member.sum(axis=0) for world in worlds).tolist()
    return total


def _line(name: str, figures: Sequence[str]) -> str:
    return f"  {name:30}" + "".join(f"{figure:>25}" for figure in figures)


def _shown(row: Row) -> str:
    return f"{row.value:+.1%} ({row.low:+.1%} to {row.high:+.1%})"


def _judged(cell: str, row: Row) -> Row:
    """Hold a row of the full stack to its bar; where novelty has no value it must win nothing."""
    measure = row.name.partition(": ")[2]
    if cell == "defaults" and measure in BARS:
        spread = Spread(row.value, row.low, row.high, row.n)
        return replace(row, bar=BARS[measure], verdict=verdict(spread, BARS[measure]))
    if cell == WORTHLESS and measure == "margin":
        return replace(row, bar=0.0, verdict="missed" if row.low > 0 else "met")
    return row


def main() -> None:
    """Print a table a cell, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small world, five days")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="worlds to play")
    parser.add_argument("--days", type=int, default=DAYS, help="days that policies play")
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS), metavar="CELL")
    asked = parser.parse_args()
    days, seeds = (5, [1]) if asked.quick else (asked.days, asked.seeds)
    before, rows = load_now(), list[Row]()
    starts = started(seeds, days=days, quick=asked.quick)
    print(f"  {days} days forward, worlds {', '.join(map(str, seeds))}: our targets, in our world")
    for cell in asked.cells:
        worlds = [
            {
                name: Brought.by(one.with_world(**CELLS[cell]), plan, days=days)
                for name, plan in plans_of(cell).items()
            }
            for one in starts
        ]
        rows += told(cell, worlds)
    where = machine(torch.__version__)
    print(line("forward", rows, days=days, machine=where, load=(before, load_now())))


if __name__ == "__main__":
    main()
