"""Promises 3, 4 and 5 where several processes answer on one port."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count, starmap
from pathlib import Path
from typing import Any

import pytest

from recsys.domain.artefact import point
from tests.reliability.callers import Caller, Heard, crowd, post, until, wire
from tests.reliability.conftest import Shown
from tests.reliability.figures import RELEASE, drawn, often
from tests.reliability.kept import BUNDLE
from tests.reliability.server import QUESTIONS, Server, right, running, without_id
from tests.reliability.test_drain import LONGEST, Tally, stopped
from tests.reliability.test_killed_server import Told, stored
from tests.reliability.test_swaps import Watch

pytestmark = pytest.mark.timeout(0 if RELEASE else 300)
WORKERS = 2
SWAPS = often(10, 100)
PER_SWAP = 1_000 if RELEASE else 50
"""Requests answered between two swaps, at least."""
KILLS = often(3, 50)
STOPS = often(2, 20)
CALLERS = 6
TRIES = 5
"""Times that a caller asks before giving up."""
LEAVES_AFTER = 20
"""Requests after which a caller comes anew: the system chooses who answers it."""


def events(server: Server, name: str) -> int:
    """Return how often a service has logged something."""
    return [line["event"] for line in server.log()].count(name)


async def both_answer(port: int) -> Counter[str]:
    """Ask on new connections until every worker has answered; return worker -> its requests."""
    seen = Counter[str]()

    async def look() -> bool:
        caller = Caller(port)
        said = (await caller.ask(wire("GET", "/metrics"))).body.decode()
        await caller.close()
        (number,) = set(re.findall(r'worker="(\d+)"', said))
        lines = re.findall(
            r'^recsys_requests_total\{[^}]*code="200"[^}]*\} (\S+)', said, re.MULTILINE
        )
        seen[number] = sum(int(float(value)) for value in lines)
        return len(seen) == WORKERS

    await until(look)
    return seen


async def swapped(server: Server, bundles: Sequence[Path], watch: Watch) -> Counter[str]:
    """Swap in turn under load, each time until all workers have turned."""
    requests, turns = list(starmap(post, QUESTIONS)), count()

    async def once(caller: Caller) -> None:
        turn = next(turns)
        watch.take(turn % len(requests), await caller.ask(requests[turn % len(requests)]))
        if turn % LEAVES_AFTER == 0:
            await caller.close()

    def turned(times: int) -> bool:
        return events(server, "reloaded") == times

    async with crowd(server.port, CALLERS, once):
        for swap in range(SWAPS):
            bundle = bundles[swap % len(bundles)]
            point(bundle.parent, bundle.name)
            await until(partial(turned, WORKERS * (swap + 1)))
            await until(partial(watch.has, PER_SWAP * (swap + 1)))
        return await both_answer(server.port)


def test_workers_turn_to_a_new_bundle_under_load_and_each_answer_is_of_one(
    tmp_path: Path, shown: Shown
) -> None:
    root = tmp_path / "bundles"
    bundles = [BUNDLE.put(root, number) for number in (1, 2, 3)]
    watch = Watch({bundle.name: right(bundle) for bundle in bundles})
    with running(tmp_path, root, workers=WORKERS) as server:
        by = asyncio.run(swapped(server, bundles, watch))
        assert server.end(signal.SIGTERM) == 0
    assert watch.wrong == []
    assert watch.seen == {bundle.name for bundle in bundles}
    assert len(watch.heard) >= PER_SWAP * SWAPS
    assert min(by.values()) > by.total() // 20
    shown(
        SWAPS,
        f"{WORKERS} workers: {len(watch.heard):,} answers while both turned, 0 lost, 0 mixed",
    )


@dataclass
class Patient:
    """Callers who ask again, elsewhere, when no answer came."""

    wanted: Sequence[dict[str, Any]]
    turns: count[int] = field(default_factory=count)
    tries: Counter[int] = field(default_factory=Counter)
    """How often somebody had to ask -> questions."""
    wrong: list[Heard] = field(default_factory=list)

    async def once(self, caller: Caller) -> None:
        """Ask one question until it is answered."""
        question = next(self.turns) % len(QUESTIONS)
        request = post(*QUESTIONS[question])
        heard, tries = await caller.ask(request), 1
        while heard.fate != "answered" and tries < TRIES:
            await asyncio.sleep(0.02)
            heard, tries = await caller.ask(request), tries + 1
        self.tries[tries] += 1
        right_one = (heard.fate, heard.status) == ("answered", 200)
        if not right_one or without_id(heard.json) != self.wanted[question]:
            self.wrong.append(heard)
        if self.tries.total() % LEAVES_AFTER == 0:
            await caller.close()


async def killed(server: Server, patient: Patient, told: Told, rng: random.Random) -> None:
    """Kill one worker after another, each time until another one is ready."""
    async with crowd(server.port, CALLERS, patient.once), crowd(server.port, 2, told.tell):
        for kill in range(KILLS):
            await asyncio.sleep(rng.uniform(0.2, 0.5))
            before = server.workers()
            assert len(before) == WORKERS
            victim = rng.choice(before)
            os.kill(victim, signal.SIGKILL)
            await until(lambda: events(server, "worker_ready") == WORKERS + kill + 1)  # ruff: ignore[function-uses-loop-variable]
            assert victim not in server.workers()
        await both_answer(server.port)


def test_a_worker_that_is_killed_is_replaced_and_who_asks_again_loses_nothing(
    tmp_path: Path, shown: Shown
) -> None:
    root = tmp_path / "bundles"
    patient, told = Patient(right(BUNDLE.put(root, 1))), Told()
    with running(tmp_path, root, workers=WORKERS) as server:
        asyncio.run(killed(server, patient, told, drawn("killed workers")))
        assert server.end(signal.SIGTERM) == 0
    assert patient.wrong == []
    assert events(server, "worker_died") == KILLS
    again = sum(n for tries, n in patient.tries.items() if tries > 1)
    assert again + told.half_way > 0  # somebody was being answered
    found = stored(tmp_path / "feedback")
    assert told.kept <= set(found) <= told.sent
    assert len(found) == len(set(found))
    assert len(told.kept) > 100 * KILLS
    journals = list((tmp_path / "feedback").glob("events-*.csv"))
    assert len(journals) >= WORKERS
    shown(
        KILLS,
        f"one of {WORKERS} workers killed: {patient.tries.total():,} questions answered, {again} "
        f"of them when asked again (at most {max(patient.tries)} times in all); 0 of "
        f"{len(told.kept):,} acknowledged events lost",
    )


def test_workers_told_to_stop_under_load_answer_all_that_they_accepted(
    tmp_path: Path, shown: Shown
) -> None:
    root = tmp_path / "bundles"
    tally, rng, took = Tally(right(BUNDLE.put(root, 1))), drawn("drained workers"), list[float]()
    for turn in range(STOPS):
        with running(tmp_path, root, workers=WORKERS) as server:
            workers = server.workers()
            code, seconds = asyncio.run(stopped(server, tally, rng))
        took.append(seconds)
        assert code == 0
        assert tally.fates["refused"] > turn  # they were asked until they were gone
        assert not any(Path("/proc", str(worker)).exists() for worker in workers)
    assert tally.wrong == []
    assert set(tally.fates) == {"answered", "refused"}, tally.fates
    assert max(took) < LONGEST
    shown(
        STOPS,
        f"{WORKERS} workers: 0 of {tally.fates['answered']:,} requests lost, "
        f"{min(took):.1f} to {max(took):.1f} s",
    )
