"""What no ranking can beat, beside top-N by value: python -m benchmarks.forward_bound [--quick].

The worlds of `benchmarks.forward`, played for the same days, their slates filled from the truth:
by the true chance of a purchase, by the margin it would bring, and with a dial that makes a sale
worth (1 + dial) times as much where it would be a first purchase of its brand. Two questions: how
far is our value from the truth, and what can a dial bring to who knows all?
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from benchmarks.cells import load_now, machine
from benchmarks.forward import DAYS, SEEDS, Brought, compared, started
from benchmarks.turns import Row, line
from recsys.domain.arrays import NONE, Bool
from recsys.runs.forward import PLANS, Start
from recsys.world.days import Day, play_day
from recsys.world.policy import Chosen, Noon
from recsys.world.retailer import offer
from recsys.world.state import SLOTS
from recsys.world.truth import Truth, What

VALUE, BY_CHANCE = "top-N by value", "true chance"


@dataclass(frozen=True)
class Known:
    """A ranking by the truth."""

    what: What = "purchase"
    dial: float = 0.0
    visible: bool = False
    """Hidden quality and hidden appeal, which nobody could know, are left out."""


KNOWN: Mapping[str, Known] = {
    BY_CHANCE: Known(),
    "true chance, as far as visible": Known(visible=True),
    "true margin": Known("margin"),
    "true chance, dial 3": Known(dial=3),
    "true chance, dial 15": Known(dial=15),
    "true margin, dial 15": Known("margin", dial=15),
    "first purchases alone": Known(dial=1e6),
}


def fill(noon: Noon, *, known: Known) -> Chosen:
    """Fill slates by the truth of a noon; nothing is left to chance."""
    today = offer(noon.world, noon.offer.rows, at=noon.at, visible=known.visible)
    worth = Truth(noon.world, (noon.state,)).expected(noon.rows, today, what=known.what)
    worth = worth * (1 + known.dial * never_bought(noon))
    best = np.argsort(-worth, axis=1, kind="stable")[:, :SLOTS]
    columns = np.full((len(noon.rows), SLOTS), NONE, dtype=np.int64)
    columns[:, : best.shape[1]] = best
    return Chosen(columns=columns, propensity=np.ones(columns.shape, dtype=np.float32))


def never_bought(noon: Noon) -> Bool:
    """Return which sales on offer are of a brand new to each member, Bool[m, s]."""
    brand = noon.world.sales.brand[noon.offer.rows]
    new = np.ones((len(noon.rows), len(brand)), dtype=np.bool_)
    for known in noon.state.known[noon.rows].T:
        new &= known[:, None] != brand
    return new


def played(begun: Start, known: Known, *, days: int) -> Iterator[Day]:
    """Play days on from a start, their slates filled by the truth."""
    state = begun.state
    for _ in range(days):
        day = play_day(begun.world, state, policy=partial(fill, known=known))
        yield day
        state = day.state


def brought(begun: Start, *, days: int) -> dict[str, Brought]:
    """Return what each ranking brought in one world."""
    found = {VALUE: Brought.by(begun, PLANS["value"], days=days)}
    for name, known in KNOWN.items():
        found[name] = Brought.of(begun, played(begun, known, days=days))
    return found


def told(worlds: Sequence[Mapping[str, Brought]]) -> list[Row]:
    """Print margin and first buyers of each ranking, beside our top-N and beside the truth's."""
    rows = []
    for beside in (VALUE, BY_CHANCE):
        print(f"  {'beside ' + beside:32}{'margin':>25}{'first buyers':>25}")
        for name in KNOWN:
            if name == beside:
                continue
            margin, _, buyers, *_ = compared(worlds, name, beside=beside)
            shown = (f"{r.value:+.1%} ({r.low:+.1%} to {r.high:+.1%})" for r in (margin, buyers))
            print(f"  {name:32}" + "".join(f"{one:>25}" for one in shown))
            rows += [margin, buyers]
    return rows


def main() -> None:
    """Print two tables, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small world, five days")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="worlds to play")
    asked = parser.parse_args()
    days, seeds = (5, [1]) if asked.quick else (DAYS, asked.seeds)
    before = load_now()
    starts = started(seeds, days=days, quick=asked.quick)
    rows = told([brought(one, days=days) for one in starts])
    where = machine(torch.__version__)
    print(line("forward_bound", rows, days=days, machine=where, load=(before, load_now())))


if __name__ == "__main__":
    main()
