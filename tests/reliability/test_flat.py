"""Promise 8: under load and swaps, memory, descriptors and threads stay where they are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, starmap
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

from recsys.domain.artefact import point
from tests.reliability.callers import Caller, crowd, post, wire
from tests.reliability.conftest import Shown
from tests.reliability.figures import RELEASE, SLICES, times
from tests.reliability.kept import BUNDLE
from tests.reliability.server import QUESTIONS, Held, Server, running

pytestmark = pytest.mark.timeout(0 if RELEASE else 600)
MIB = 1 << 20
BUNDLES, CALLERS = 4, 2
EVERY = 0.5
"""Seconds between two looks, and between two requests for feedback, metrics and the page."""
SWAP_EVERY = 3.6 if RELEASE else 1.0
WARM = 0.3
"""Share of the time after which memory is looked at: caches fill up, pools grow."""
MOST_MIB = 48.0
"""What may be added in the short run, in which the noise of the allocator is all there is."""
MOST_MIB_PER_HOUR = 1.0
"""In the long one."""
OTHERS = (
    post("/v1/recommend", {"history": [{"kind": "view", "at": 1774900000000000, "sale": "s0040"}]}),
    post("/v1/similar", {"of": "members", "member": "m0003"}),
    post("/v1/explain", {"member": "m0003", "sale": "s0040"}),
    post("/v1/feedback", {"events": [{"member": "m", "kind": "visit", "at": "2026-03-30T12:00Z"}]}),
    post("/v1/recommend", {"member": 7}),
    wire("GET", "/?member=m0003"),
    wire("GET", "/v1/shelf"),
    wire("GET", "/metrics"),
    wire("GET", "/nowhere"),
)
"""Asked now and then beside the load; each a request like no other."""


@dataclass(frozen=True)
class Look:
    """What the process held at an instant."""

    at: float
    held: Held


def slope(looks: Sequence[Look]) -> float:
    """Return the growth of memory once warm, in MiB an hour, by least squares."""
    warm = looks[int(WARM * len(looks)) :]
    hours = np.array([look.at for look in warm]) / 3600
    sizes = np.array([look.held.rss for look in warm]) / MIB
    return float(np.polyfit(hours - hours[0], sizes, 1)[0])


async def looked_at(server: Server, bundles: Sequence[Path]) -> tuple[list[Look], Counter[int]]:
    """Ask and swap for the time of the promise; return looks, and codes of the answers."""
    requests, turns, codes = list(starmap(post, QUESTIONS)), count(), Counter[int]()

    async def once(caller: Caller) -> None:
        heard = await caller.ask(requests[next(turns) % len(requests)])
        codes[heard.status] += 1
        await asyncio.sleep(heard.seconds * 0.4)  # not all that it can do

    looks, swaps = list[Look](), 0
    began, ends = monotonic(), monotonic() + times(8)
    async with crowd(server.port, CALLERS, once):
        while monotonic() < ends:
            if monotonic() - began > swaps * SWAP_EVERY:
                bundle = bundles[swaps % len(bundles)]
                await asyncio.to_thread(point, bundle.parent, bundle.name)
                swaps += 1
            looks.append(Look(monotonic() - began, server.held()))
            await asked_once(server.port)
            await asyncio.sleep(EVERY)
    return looks, codes


async def asked_once(port: int) -> None:
    """Ask all the rest, each on a connection of its own."""
    for request in OTHERS:
        caller = Caller(port)
        assert (await caller.ask(request)).status in {200, 404, 422}, request
        await caller.close()


async def rested(server: Server) -> Held:
    """Return what the process holds when nobody asks."""
    await asked_once(server.port)
    held = server.held()
    for _ in range(100):
        await asyncio.sleep(0.05)
        held, before = server.held(), held
        if (held.descriptors, held.threads) == (before.descriptors, before.threads):
            break
    return held


def test_memory_descriptors_and_threads_stay_flat(tmp_path: Path, shown: Shown) -> None:
    root = tmp_path / "bundles"
    bundles = [BUNDLE.put(root, number) for number in range(1, BUNDLES + 1)]
    with running(tmp_path, root) as server:
        for _ in range(20):  # every thread of every pool has been begun
            before = asyncio.run(rested(server))
        looks, codes = asyncio.run(looked_at(server, bundles))
        after = asyncio.run(rested(server))
    swaps = [line for line in server.log() if line["event"] == "reloaded"]
    assert set(codes) == {200}, codes
    assert len(swaps) > times(8) / SWAP_EVERY / 3
    assert (after.descriptors, after.threads) == (before.descriptors, before.threads)
    # of the bundle before, until the garbage collector has come
    assert before.mapped <= after.mapped <= 2 * before.mapped
    grown = (looks[-1].held.rss - looks[int(WARM * len(looks))].held.rss) / MIB
    assert grown < MOST_MIB
    if RELEASE and SLICES == 1:
        assert slope(looks) <= MOST_MIB_PER_HOUR
    shown(
        times(8),
        f"{codes.total():,} requests, {len(swaps)} swaps: memory {grown:+.1f} MiB after warming up "
        f"({slope(looks):+.0f} MiB an hour, of {looks[-1].held.rss / MIB:.0f}); "
        f"{after.descriptors} descriptors and {after.threads} threads before and after",
    )


def test_a_slope_is_that_of_the_line(tmp_path: Path) -> None:
    flat = [Look(float(s), Held(100 * MIB, 9, 9, 9)) for s in range(100)]
    rising = [Look(float(s), Held((100 + s) * MIB, 9, 9, 9)) for s in range(100)]
    assert slope(flat) == pytest.approx(0, abs=1e-6)
    assert slope(rising) == pytest.approx(3600)
