"""Promise 3: bundles are swapped under load, and no answer is lost or of two of them."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count, starmap
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from recsys.domain.artefact import point
from tests.reliability.callers import Caller, Heard, crowd, post, quantile, until, wire
from tests.reliability.conftest import Shown
from tests.reliability.damage import damaged
from tests.reliability.figures import RELEASE, drawn, times
from tests.reliability.kept import BUNDLE
from tests.reliability.server import QUESTIONS, Server, right, running, without_id

pytestmark = pytest.mark.timeout(0 if RELEASE else 900)
BUNDLES = 8
"""Versions that take turns."""
PER_SWAP = 1_000 if RELEASE else 25
"""Requests answered between two swaps, at least."""
DAMAGED_EVERY = 20
"""Swaps after which a damaged bundle is tried."""
CALLERS = 3
READY = wire("GET", "/readyz")

Answers = Mapping[str, Sequence[Mapping[str, Any]]]
"""Bundle -> its right answer to each question."""


@dataclass
class Watch:
    """Compares every answer with that of the bundle it names."""

    right: Answers
    heard: list[Heard] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    """Bundles that answered."""

    def take(self, question: int, heard: Heard) -> None:
        """Note an answer, and what is wrong with it."""
        if (heard.fate, heard.status) != ("answered", 200):
            self.wrong.append(f"{heard.fate} {heard.status} {heard.body[:200]!r}")
            return
        said = without_id(heard.json)
        generation = said["generation"]
        if said != self.right.get(generation, {question: None})[question]:
            self.wrong.append(f"{generation} did not say {said}")
        self.seen.add(generation)
        self.heard.append(Heard("answered", heard.sent, heard.done))

    def has(self, answers: int) -> bool:
        """Tell whether so many answers have come."""
        return len(self.heard) + len(self.wrong) >= answers


def split(
    heard: Sequence[Heard], windows: Sequence[tuple[float, float]]
) -> tuple[list[float], list[float]]:
    """Return the seconds of answers while a swap went on, and of those between."""
    inside, outside = list[float](), list[float]()
    coming = iter([*windows, (float("inf"), float("inf"))])
    begins, ends = next(coming)
    for one in sorted(heard, key=lambda one: one.sent):
        while ends < one.sent:
            begins, ends = next(coming)
        (inside if one.done >= begins else outside).append(one.seconds)
    return inside, outside


async def turned(caller: Caller, bundle: Path) -> tuple[float, float]:
    """Point at a bundle and wait until it answers."""
    began = monotonic()
    point(bundle.parent, bundle.name)

    async def answers() -> bool:
        return bool((await caller.ask(READY)).json["generation"] == bundle.name)

    await until(answers, 60)
    return began, monotonic()


def refusals(server: Server) -> list[str]:
    return [line["what"] for line in server.log() if line["event"] == "reload_failed"]


async def refused(server: Server, old: Path, victim: Path, rng: random.Random) -> None:
    """Point at a damaged bundle until the service has said that it does not take it."""
    before = len(refusals(server))
    with damaged(victim, old, rng) as damage:
        point(victim.parent, victim.name)
        await until(lambda: len(refusals(server)) > before)
        assert any(file in refusals(server)[-1] for file in damage.files), damage
        point(old.parent, old.name)


async def swaps(
    server: Server, bundles: Sequence[Path], watch: Watch, rng: random.Random
) -> list[tuple[float, float]]:
    """Swap in turn while others ask, try a damaged bundle between; return when swaps were."""
    *whole, victim = bundles
    caller, windows = Caller(server.port), list[tuple[float, float]]()
    for swap in range(times(3)):
        if swap % DAMAGED_EVERY == DAMAGED_EVERY // 2:
            await refused(server, whole[swap % len(whole) - 1], victim, rng)
        windows.append(await turned(caller, whole[swap % len(whole)]))
        await until(partial(watch.has, PER_SWAP * (swap + 1)))
    await caller.close()
    return windows


def test_bundles_are_swapped_under_load_and_no_answer_is_lost_or_mixed(
    tmp_path: Path, shown: Shown
) -> None:
    root = tmp_path / "bundles"
    bundles = [BUNDLE.put(root, number) for number in range(1, BUNDLES + 2)]
    point(root, bundles[-2].name)
    watch = Watch({bundle.name: right(bundle) for bundle in bundles[:-1]})
    requests = list(starmap(post, QUESTIONS))
    turns = count()

    async def load(server: Server) -> list[tuple[float, float]]:
        async def once(caller: Caller) -> None:
            question = next(turns) % len(requests)
            watch.take(question, await caller.ask(requests[question]))

        async with crowd(server.port, CALLERS, once):
            return await swaps(server, bundles, watch, drawn("swaps"))

    with running(tmp_path, root, retry_seconds=600) as server:
        windows = asyncio.run(load(server))
    assert watch.wrong == []
    assert watch.seen == {bundle.name for bundle in bundles[:-1]}
    assert len(watch.heard) >= PER_SWAP * times(3)
    assert len(refusals(server)) == len(range(DAMAGED_EVERY // 2, times(3), DAMAGED_EVERY))
    inside, outside = split(watch.heard, windows)
    shown(
        times(3),
        f"{len(watch.heard):,} answers of {BUNDLES} bundles in turn: 0 lost, 0 mixed, each "
        f"as its bundle gives it alone; {len(refusals(server))} damaged ones refused; p99 "
        f"{quantile(inside, 0.99):.0f} ms in swaps, {quantile(outside, 0.99):.0f} ms between",
    )


def test_an_answer_of_two_bundles_would_be_seen(tmp_path: Path) -> None:
    one, other = (right(BUNDLE.put(tmp_path, number)) for number in (1, 2))
    watch = Watch({said[0]["generation"]: said for said in (one, other)})
    for question, (first, second) in enumerate(zip(one, other, strict=True)):
        mixed = {**first, "generation": second["generation"]}
        for said in (first, second, mixed):
            watch.take(question, Heard("answered", 0, 1, 200, body=json.dumps(said).encode()))
    assert len(watch.heard) == 3 * len(QUESTIONS)
    assert len(watch.wrong) == len(QUESTIONS)
    watch.take(0, Heard("lost", 0, 1))
    assert watch.wrong[-1].startswith("lost")
