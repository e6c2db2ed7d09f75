"""Promise 6: far beyond what it can do, a service refuses in its one form and keeps its memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from recsys.serve.bundle import publish_bundle
from tests.builders import tiny_dataset
from tests.reliability.callers import Caller, Heard, crowd, post, quantile
from tests.reliability.conftest import Shown
from tests.reliability.figures import RELEASE, times
from tests.reliability.server import Server, running, without_id
from tests.serve.asking import Service
from tests.serve.conftest import parts_of

pytestmark = pytest.mark.timeout(0 if RELEASE else 300)
TIMES = 10
"""How many times what it can do is asked of it."""
CALLERS, FEW = 200, 4
WAITING = 16
"""Requests that may wait."""
DIALS = 64
"""Dials that take turns: slates of one dial are made together, those of others are not."""
ASKED = [{"member": "m0003", "novelty": dial / 100, "slots": 12} for dial in range(DIALS)]
REQUESTS = [post("/v1/recommend", asked) for asked in ASKED]
MORE = 1.5
"""Memory under overload, in sizes of that under load."""


@dataclass
class Load:
    """What was asked at a pace, and what came of it."""

    server: Server
    rate: float | None
    """Requests a second, evenly; None = each caller asks again once it is answered."""
    wanted: Sequence[dict[str, Any]]
    """The right answers."""
    numbers: count[int] = field(default_factory=count)
    answers: Counter[str] = field(default_factory=Counter)
    made: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    """Seconds of slates, and of refusals."""
    wrong: list[str] = field(default_factory=list)
    peak: int = 0
    """Most memory that was seen, in bytes."""

    async def run(self, callers: int, seconds: float) -> None:
        """Ask for so long."""
        ends, began = monotonic() + seconds, monotonic()

        async def once(caller: Caller) -> None:
            number = next(self.numbers)
            if self.rate is not None:
                await asyncio.sleep(began + number / self.rate - monotonic())
            self.take(number % DIALS, await caller.ask(REQUESTS[number % DIALS]))

        async with crowd(self.server.port, callers, once):
            while monotonic() < ends:
                await asyncio.sleep(0.1)
                self.peak = max(self.peak, self.server.held().rss)

    def take(self, question: int, heard: Heard) -> None:
        """Count an answer, and what is wrong with it."""
        name = (
            "slate" if heard.status == 200 else str(heard.json.get("error") if heard.status else "")
        )
        self.answers[name or heard.fate] += 1
        if name == "slate":
            self.made.append(heard.seconds)
            # reading them all would slow down whoever asks
            if len(self.made) % 50 == 1 and without_id(heard.json) != self.wanted[question]:
                self.wrong.append(f"another slate: {heard.body[:200]!r}")
        elif heard.status == 503 and heard.headers.get("retry-after", "").isdecimal():
            self.refused.append(heard.seconds)
        else:
            self.wrong.append(f"{heard.fate} {heard.status} {heard.headers} {heard.body[:200]!r}")


def test_beyond_what_it_can_do_it_refuses_and_keeps_its_memory(
    tmp_path: Path, shown: Shown
) -> None:
    root, seconds = tmp_path / "bundles", times(6)
    dataset = tiny_dataset(members=60, days=10, sales_a_day=200)
    publish_bundle(parts_of(dataset), root)
    alone = Service(root)
    wanted = [without_id(alone.post("/v1/recommend", **asked).json()) for asked in ASKED]
    with running(tmp_path, root, waiting=WAITING, deadline_seconds=10) as server:
        few = Load(server, None, wanted)
        asyncio.run(few.run(FEW, 2.0))
        able = few.answers["slate"] / 2.0
        many = Load(server, TIMES * able, wanted)
        asyncio.run(many.run(CALLERS, seconds))
        after = Load(server, able / 4, wanted)
        asyncio.run(after.run(FEW, 2.0))
    assert few.wrong == many.wrong == after.wrong == []
    assert set(many.answers) == {"slate", "overloaded"}, many.answers
    assert many.answers.total() > 2 * many.answers["slate"]
    assert set(after.answers) == {"slate"}, after.answers
    assert many.peak < MORE * few.peak
    asked = many.answers.total() / seconds
    shown(
        seconds,
        f"asked {asked / able:.1f} times the {able:.0f} a second it can do: made "
        f"{many.answers['slate'] / seconds:.0f} a second, p99 {quantile(many.made, 0.99):.0f} ms; "
        f"refused {many.answers['overloaded']:,}, p99 {quantile(many.refused, 0.99):.0f} ms; "
        f"memory {many.peak / few.peak - 1:+.1%}; all slates again afterwards",
    )
