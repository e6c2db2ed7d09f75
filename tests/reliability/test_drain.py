"""Promise 4: a service told to stop loses no request that it accepted, and ends within 20 s."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Sequence
from itertools import count, starmap
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.reliability.callers import Caller, crowd, post
from tests.reliability.conftest import Shown
from tests.reliability.figures import RELEASE, drawn, times
from tests.reliability.kept import BUNDLE
from tests.reliability.server import QUESTIONS, Server, right, without_id

pytestmark = pytest.mark.timeout(0 if RELEASE else 900)
CALLERS = 8
LONGEST = 20.0
"""Seconds within which it ends."""


class Tally:
    """What became of the requests of all callers."""

    def __init__(self, wanted: Sequence[dict[str, Any]]) -> None:
        self._wanted, self._turns = wanted, count()
        self._requests = list(starmap(post, QUESTIONS))
        self.fates: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def once(self, caller: Caller) -> None:
        """Ask one question; move on from a service that does not let anybody in any more."""
        question = next(self._turns) % len(QUESTIONS)
        heard = await caller.ask(self._requests[question])
        self.fates[heard.fate] += 1
        if heard.fate == "refused":
            await asyncio.sleep(0.02)
        elif heard.fate == "answered" and without_id(heard.json) != self._wanted[question]:
            self.wrong.append(f"{heard.status} {heard.body[:200]!r}")


async def stopped(server: Server, tally: Tally, rng: random.Random) -> tuple[int, float]:
    """Stop a service while it is asked; return its exit code and what that took."""
    async with crowd(server.port, CALLERS, tally.once):
        await asyncio.sleep(rng.uniform(0.2, 0.5))
        began = monotonic()
        server.child.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(server.wait, LONGEST)
        return code, monotonic() - began


def test_a_service_told_to_stop_under_load_answers_all_that_it_accepted(
    tmp_path: Path, shown: Shown
) -> None:
    root = tmp_path / "bundles"
    tally, rng, took = Tally(right(BUNDLE.put(root, 1))), drawn("drain"), list[float]()
    coming = Server(tmp_path, root)
    for turn in range(times(4)):
        server = coming.ready()
        # two in turn: the next one starts while this one still answers
        coming = Server(tmp_path, root)
        try:
            code, seconds = asyncio.run(stopped(server, tally, rng))
        except BaseException:
            coming.end()
            raise
        took.append(seconds)
        assert code == 0, turn
        assert tally.fates["refused"] > turn  # it was asked until it was gone
    coming.end()
    assert tally.wrong == []
    assert set(tally.fates) == {"answered", "refused"}, tally.fates
    last = [line["event"] for line in server.log() if line["event"] == "stopped"]
    assert len(last) == times(4)
    shown(
        times(4),
        f"0 of {tally.fates['answered']:,} requests lost; exit 0 each time, "
        f"{min(took):.1f} to {max(took):.1f} s after SIGTERM",
    )
