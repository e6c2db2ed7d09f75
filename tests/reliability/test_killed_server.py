"""Promise 5: a killed service is ready again, says the same, and has kept what it acknowledged."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, starmap
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl
import pytest

from recsys.serve.feedback import Feedback
from tests.reliability.callers import Caller, crowd, post
from tests.reliability.conftest import Shown
from tests.reliability.figures import RELEASE, drawn, times
from tests.reliability.kept import BUNDLE
from tests.reliability.server import QUESTIONS, Server, right, without_id

pytestmark = pytest.mark.timeout(0 if RELEASE else 900)
TELLERS = 4
ROWS = 5
"""Events of one message."""


@dataclass
class Told:
    """What was told of members, and what of it the service said that it had kept."""

    numbers: count[int] = field(default_factory=count)
    sent: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    half_way: int = 0
    """Messages that a kill cut off."""

    async def tell(self, caller: Caller) -> None:
        """Tell of some events, each about a member nobody else is."""
        members = [f"member {next(self.numbers)}" for _ in range(ROWS)]
        at = "2026-03-30T12:00:00Z"
        events = [{"member": member, "kind": "visit", "at": at} for member in members]
        self.sent.update(members)
        heard = await caller.ask(post("/v1/feedback", {"events": events}))
        if heard.fate == "answered":
            assert (heard.status, heard.json["events"]) == (200, ROWS)
            self.kept.update(members)
        else:
            self.half_way += heard.fate == "lost"
            await asyncio.sleep(0.02)


async def killed(server: Server, told: Told, rng: random.Random) -> Sequence[dict[str, Any]]:
    """Ask every question, then kill the service while it is told; return the answers."""
    caller = Caller(server.port)
    answers = [(await caller.ask(one)).json for one in starmap(post, QUESTIONS)]
    await caller.close()
    async with crowd(server.port, TELLERS, told.tell):
        await asyncio.sleep(rng.uniform(0.02, 0.2))
        await asyncio.to_thread(server.end)
        await asyncio.sleep(0.05)
    return list(map(without_id, answers))


def stored(folder: Path) -> list[str]:
    """Open the folder as the next service does; return the members that are told of in it."""
    Feedback(folder).close()
    files = sorted(folder.glob("events-*.csv"))
    return pl.concat([pl.read_csv(file, infer_schema=False) for file in files])["member"].to_list()


def test_a_killed_service_says_the_same_again_and_kept_what_it_acknowledged(
    tmp_path: Path, shown: Shown
) -> None:
    root = tmp_path / "bundles"
    wanted = right(BUNDLE.put(root, 1))
    told, rng, took = Told(), drawn("killed server"), list[float]()
    for turn in range(times(5)):
        server = Server(tmp_path, root)
        try:
            assert asyncio.run(killed(server.ready(), told, rng)) == wanted, turn
        finally:
            with suppress(ProcessLookupError):
                server.end()
        took.append(server.seconds)
    found = stored(tmp_path / "feedback")
    assert told.kept <= set(found) <= told.sent
    assert len(found) == len(set(found))
    assert len(told.kept) > times(5) * ROWS
    assert told.half_way > times(5) // 4
    shown(
        times(5),
        f"the same bits each time; 0 of {len(told.kept):,} acknowledged events lost, "
        f"{told.half_way} messages cut off; ready after {median(took):.1f} s "
        f"({min(took):.1f} to {max(took):.1f}), libraries included",
    )
