"""A policy played forward in the built-in world: one line a day, then the sum."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from recsys.runs.console import Console
from recsys.runs.forward import PLANS, forward, start
from recsys.runs.spec import Simulate, Train
from recsys.world.days import Totals
from recsys.world.play import simulate as play_forward


def simulate(spec: Simulate) -> None:
    """Play the past as logged, then `spec.days` under `spec.policy`, and say what each brought."""
    console = Console()
    world = spec.data
    console.fact(
        "world",
        f"{world.num_members:,} members, {world.num_days} days played by {world.logging_policy}",
    )
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
