"""What a log with drawn dials says, and what is true: python -m benchmarks.dial [--quick].

The built-in world plays a past, the stack is fitted on it, and for some weeks the dial of every
slate is drawn. What that log says of each dial is laid beside what the dial brings when the same
days are played with it, by the same luck; then dials are chosen by context as `recsys dial`
chooses them, and the days after are played with that table and with the dial that stands.

A purchase counts on the day of the slate, of a sale on it. Days that are played with a dial change
what members have seen and bought by then, which a log does not know: a difference that is no error.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import torch

from benchmarks.cells import load_now, machine
from benchmarks.forward import settings
from benchmarks.turns import Row, Spread, line
from recsys.domain.arrays import NONE
from recsys.domain.events import Kind
from recsys.evaluate.by_context import AT_DIAL, OWN, Choices, choose, halves, judged, sure
from recsys.evaluate.offpolicy import PolicyValue
from recsys.evaluate.support import Refused
from recsys.rerank.asking import Asked
from recsys.rerank.dial import CONTEXTS, GRID, context_of
from recsys.rerank.offer import Picks
from recsys.rerank.spec import Blend, Rerank
from recsys.runs.dial import table_of
from recsys.runs.forward import Plan, Start, forward, start
from recsys.world.days import Day

DRAWS, SEED = 1_000, 0
_WIDTH = 12


@dataclass
class Watched:
    """The slates of some days, a frame a day."""

    frames: list[pl.DataFrame] = field(default_factory=list)

    def seen(self, asked: Asked, picks: Picks) -> None:
        """Note the slates of a noon."""
        question, columns = asked.question, picks.columns
        row, slot = np.nonzero(columns != NONE)
        sales = np.broadcast_to(question.sales, asked.eligible.shape)
        own = (
            {}
            if picks.by_dial is None
            else dict(zip((OWN, *AT_DIAL), picks.by_dial[row, slot].T, strict=True))
        )
        self.frames.append(
            pl.DataFrame({
                "member": question.requests.member[question.rows][row].astype(np.int64),
                "send": np.full(len(row), len(self.frames)),
                "slot": slot,
                "sale": sales[row, columns[row, slot]],
                "log_propensity": picks.log_propensity[row, slot].astype(np.float64),
                "context": np.array(CONTEXTS)[context_of(question)[row]],
                **{name: chances.astype(np.float64) for name, chances in own.items()},
            })
        )

    def rewarded(self, begun: Start, days: Sequence[Day]) -> pl.DataFrame:
        """Return all slates with what was bought of each slot on its day."""
        ids = begun.record.ids
        bought = pl.concat([
            pl.DataFrame({
                "member": ids.member[day.log.member[day.log.kind == Kind.PURCHASE]].astype(
                    np.int64
                ),
                "sale": ids.sale[day.log.sale[day.log.kind == Kind.PURCHASE]].astype(np.int64),
                "send": np.full(int((day.log.kind == Kind.PURCHASE).sum()), number),
            })
            for number, day in enumerate(days)
        ]).unique()
        shown = pl.concat(self.frames).join(
            bought.with_columns(reward=pl.lit(1.0)), on=("member", "send", "sale"), how="left"
        )
        return shown.with_columns(pl.col("reward").fill_null(0.0), pl.col("member").cast(pl.String))


def played(begun: Start, rerank: Rerank, *, days: int) -> tuple[pl.DataFrame, list[Day]]:
    """Play days on with some settings; return the slates with what they brought, and the days."""
    watched = Watched()
    lived = [*forward(begun, Plan(rerank, seen=watched.seen), days=days)]
    return watched.rewarded(begun, lived), lived


def mean(frame: pl.DataFrame) -> float:
    """Return the purchases of a slate."""
    slates = frame.select("member", "send").n_unique()
    return float(frame["reward"].to_numpy().sum()) / slates


def beside_the_truth(begun: Start, log: pl.DataFrame, *, days: int, before: Blend) -> list[Row]:
    """Print what the log says of each dial, and what it brings; return a row each."""
    found = choose(log, num_draws=DRAWS, seed=SEED).all
    stands = mean(played(begun, before, days=days)[0])
    rows, inside = [], 0
    print(f"  {'dial':>6}{'the log says':>34}{'played':>12}")
    for dial, said in zip(GRID, found.more, strict=True):
        true = mean(played(begun, Blend(novelty=dial), days=days)[0]) - stands
        if isinstance(said, Refused):
            print(f"  {dial:6g}{'refused: ' + '; '.join(said.why):>34}{true:+12.5f}")
            continue
        inside += said.low <= true <= said.high
        shown = f"{said.value:+.5f} ({said.low:+.5f} to {said.high:+.5f})"
        print(f"  {dial:6g}{shown:>34}{true:+12.5f}")
        spread = Spread(said.value, said.low, said.high, said.n)
        rows.append(replace(Row.of(f"dial {dial:g}", spread, "purchases a slate"), bar=true))
    print(f"  {inside} of {len(GRID)} inside; purchases a slate, more than {stands:.5f}")
    return rows


def told(choices: Choices) -> None:
    """Print what each dial brings more in each context."""
    print(f"  {'':9}{'slates':>9}" + "".join(f"{dial:>{_WIDTH}g}" for dial in GRID))
    for one in (choices.all, *choices.contexts):
        cells = [
            "refused"
            if isinstance(more, Refused)
            else f"{more.value:+.5f}" + ("*" if sure(more) else " ")
            for more in one.more
        ]
        print(f"  {one.context:9}{one.slates:>9,}" + "".join(f"{cell:>{_WIDTH}}" for cell in cells))
    dials = ["as it is" if dial is None else f"{dial:g}" for dial in choices.dials]
    print(f"  taken: {', '.join(f'{at} {dial}' for at, dial in zip(CONTEXTS, dials, strict=True))}")


def chosen(begun: Start, log: pl.DataFrame, *, days: int, later: Start, before: Blend) -> list[Row]:
    """Choose dials by context, judge them, play them; return a row of each."""
    mine, theirs = halves(log)
    choices = choose(mine, num_draws=DRAWS, seed=SEED)
    told(choices)
    found = judged(theirs, choices, num_draws=DRAWS, seed=SEED)
    if isinstance(found, PolicyValue):
        print(f"  the other half: {found.value:+.5f} ({found.low:+.5f} to {found.high:+.5f})")
    if not any(place is not None for place in choices.places):
        print("  no dial is better than the one that stands, as far as this log can tell")
        return []
    table = table_of(choices, {}, channel="mail", evidence=()).put(before)
    rows = []
    for name, at in (("the same days", begun), ("the days after", later)):
        ours, stands = (mean(played(at, plan, days=days)[0]) for plan in (table, before))
        print(f"  {name}, played with the table: {ours / stands - 1:+.2%} purchases a slate")
        rows.append(
            Row.of(
                name,
                Spread(ours / stands - 1, 0, 0, days),
                "share",
                ratio_to="the dial that stands",
            )
        )
    return rows


def main() -> None:
    """Print the tables, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small world, three days")
    parser.add_argument("--seed", type=int, default=1, help="of the world")
    parser.add_argument("--members", type=int, default=20_000)
    parser.add_argument("--days", type=int, default=20, help="days whose dials are drawn")
    parser.add_argument("--stands", type=float, default=0.7, help="the dial before")
    asked = parser.parse_args()
    stands = Blend(novelty=asked.stands)
    days, before = 3 if asked.quick else asked.days, load_now()
    with TemporaryDirectory() as folder:
        spec = settings(asked.seed, members=asked.members, quick=asked.quick)
        begun = start(spec, days=2 * days, folder=Path(folder))
    log, lived = played(begun, stands.model_copy(update={"novelty_drawn": 1.0}), days=days)
    slates = log.select("member", "send").n_unique()
    print(f"  {slates:,} slates of {days} days, {mean(log):.5f} purchases each")
    record = begun.record
    for day in lived:
        record = record.after(day.log)
    later = replace(begun, state=lived[-1].state, record=record)
    rows = beside_the_truth(begun, log, days=days, before=stands)
    rows += chosen(begun, log, days=days, later=later, before=stands)
    print(line("dial", rows, machine=machine(torch.__version__), load=(before, load_now())))


if __name__ == "__main__":
    main()
