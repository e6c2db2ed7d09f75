"""A policy played forward in the built-in world, one line a day; or its past, written down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from recsys.runs.console import Console
from recsys.runs.forward import PLANS, forward, start
from recsys.runs.on_processes import cores
from recsys.runs.spec import Simulate, Train
from recsys.world.days import Totals
from recsys.world.play import simulate as play_forward
from recsys.world.shards import vacant, write_tables
from recsys.world.spec import FlashSales
from recsys.world.spread import processes
from recsys.world.stream import stream

MOST = 6
"""Processes that share 1 GB."""


def simulate(spec: Simulate) -> None:
    """Play the past as logged, then `spec.days` under `spec.policy`, and say what each brought.

    With `spec.out` the past is written there instead.

    Raises:
        SettingError: `spec.out` holds another world, or its tables already.
    """
    console = Console()
    world = spec.data
    console.fact(
        "world",
        f"{world.num_members:,} members, {world.num_days} days played by {world.logging_policy}",
    )
    if spec.out is not None:
        write(spec, Path(spec.out), console)
        return
    console.fact("policy", f"{spec.policy}, {spec.days} days more")
    console.table(table(played(spec)))


def played(spec: Simulate) -> tuple[Totals, ...]:
    """Return what each day under the policy brought; one of ours is fitted on the past first."""
    match spec.policy:
        case "value" | "slots" | "stack":
            with TemporaryDirectory() as folder:
                begun = start(Train(data=spec.data), days=spec.days, folder=Path(folder))
            days = forward(begun, PLANS[spec.policy], days=spec.days)
            return tuple(day.totals for day in days)
        case _:
            return play_forward(spec.data, spec.policy, spec.days)


def write(spec: Simulate, out: Path, console: Console) -> None:
    """Write the past to `out`: world/ (arrays), tables/ (parquet), and a config that reads them."""
    vacant(out / "tables")
    with processes(spec.processes or min(cores(), MOST)) as spread:
        past = stream(spec.data, out / "world", spread=spread, told=partial(_now_and_then, console))
        rows = write_tables(out / "world", out / "tables", spread=spread)
    console.fact("arrays", f"{out / 'world'}: {len(past.events):,} events by member")
    console.fact(
        "tables",
        f"{out / 'tables'}: " + ", ".join(f"{count:,} {name}" for name, count in rows.items()),
    )
    config = out / f"{out.name}.yaml"
    config.write_text(config_of(spec.data, out / "tables", rows), encoding="utf-8")
    console.fact("config", f"{config}    (copy it to configs/data/)")
    console.line("next")
    console.line(f"  recsys check data={out.name}")


def _now_and_then(console: Console, day: int, days: int) -> None:
    """Say how many days are over, about ten times."""
    if day % -(-days // 10) == 0 or day == days:
        console.fact("played", f"day {day} of {days}")


def config_of(world: FlashSales, tables: Path, rows: Iterable[str]) -> str:
    """Return the data config that reads tables which were written below a folder."""
    settings = {
        "kind": "tables",
        "name": "flash_sales",
        "zone": world.zone,
        "outcome_hours": world.outcome_hours,
        **{name: {"path": str(tables.resolve() / name)} for name in rows},
    }
    return yaml.safe_dump(settings, sort_keys=False)


def table(days: Sequence[Totals]) -> list[list[str]]:
    """Return a line a day and their sum; margin in euros, a new brand's first purchases apart."""
    head = ["day", "visits", "views", "clicks", "bought", "margin", "new brand", "left mails"]
    return [head, *(_row(str(day.day), [day]) for day in days), _row("all", days)]


def _row(name: str, days: Sequence[Totals]) -> list[str]:
    return [
        name,
        f"{sum(day.visits for day in days):,}",
        f"{sum(day.views for day in days):,}",
        f"{sum(day.clicks for day in days):,}",
        f"{sum(day.purchases for day in days):,}",
        f"{sum(day.margin for day in days):,.0f}",
        f"{sum(day.first_brand_purchases for day in days):,}",
        f"{sum(day.unsubscribes for day in days):,}",
    ]
