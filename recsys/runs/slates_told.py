"""What `recsys slates` says while it works."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from recsys.campaign.pace import Pace, Way
from recsys.domain.clock import utc_of
from recsys.domain.ledger import ShardPlan
from recsys.rerank.dial import dials_said
from recsys.rerank.spec import plan_of
from recsys.runs.console import Console, clock
from recsys.runs.folder import version
from recsys.runs.slates_repair import Kept
from recsys.runs.slates_sending import Sending

WAYS = {
    Way.VALUE: "by the value model",
    Way.TASTE: "by taste alone",
    Way.PLAIN: "without scores: editors' picks, then the newest",
}


def begin(console: Console, sending: Sending, *, members: int) -> None:
    """Say what is to be made."""
    job, seat = sending.job, sending.seat
    at = utc_of(job.at).astimezone(ZoneInfo(seat.parts.zone))
    console.line(f"recsys {version()}   slates for {at:%d %b %Y %H:%M} {seat.parts.zone}")
    console.fact("bundle", job.fingerprint)
    console.fact(
        "shelf", f"{len(seat.shelf):,} sales, {int(seat.shelf.curated.sum())} picked by editors"
    )
    console.fact("members", f"{members:,}, {job.slots} slots each")
    dials = dials_said(plan_of(job.rerank))
    if dials:
        console.fact("dial", dials)


def left_out(console: Console, *, unknown: int, unwritten: int) -> None:
    """Say who was asked for and gets nothing."""
    if unknown:
        console.fact("unknown", f"{unknown:,} ids that the bundle does not know: left out")
    if unwritten:
        console.fact("no mail", f"{unwritten:,} members do not consent to mail: left out")


def dry(console: Console, plan: ShardPlan, *, there: int, needed: int) -> None:
    """Say what would be written."""
    console.fact("files", f"{len(plan.shards):,}, {there:,} of them are there already")
    console.fact("bytes", f"about {needed / 1e6:,.1f} MB")
    console.line("dry run: nothing is written")


def slower(console: Console, pace: Pace, *, until: datetime | None) -> None:
    """Say that the rest is made in a cheaper way, and why."""
    needed = pace.needed
    why = "the time is over" if needed is None else f"{clock(needed)} would be needed otherwise"
    left = 0.0 if until is None else max(until.timestamp() - pace.now(), 0.0)
    console.fact(
        "hurry", f"the rest, {pace.left:,} members, {WAYS[pace.way]}: {clock(left)} left, {why}"
    )


def kept(console: Console, keeping: Kept) -> None:
    """Say how far the promises are kept."""
    swaps = f", by a swap on {keeping.repaired:,} slates" if keeping.repaired else ""
    if not keeping.missed:
        console.fact("promises", f"kept{swaps}")
        return
    console.fact("promises", f"{len(keeping.missed)} missed", *keeping.missed[:3])


def arms(console: Console, refused: str | None) -> None:
    """Say where the arms of an experiment do not hold the members they should."""
    if refused is not None:
        console.fact("arms", refused, "read nothing out of them before you know why")


def end(
    console: Console,
    folder: Path,
    *,
    told: Mapping[int, Mapping[str, Any]],
    kinds: tuple[str, ...],
) -> None:
    """Say what was made, and what to do with it."""
    facts = list(told.values())
    own = sum(int(fact["own"]) for fact in facts)
    plain = sum(int(fact["members"]) for fact in facts) - own
    withheld = sum(int(fact["withheld"]) for fact in facts)
    console.fact(
        "made", f"{own:,} slates of members' own, {plain:,} plain ({withheld:,} withhold consent)"
    )
    console.fact("slates", os.path.relpath(folder))
    console.line("next")
    console.line(f"  pl.read_parquet('{os.path.relpath(folder)}/log/*.parquet')")
    if "campaign.csv" in kinds:
        console.line(f"  {os.path.relpath(folder)}/campaign/*.csv   for the mailer")
