"""Promise 7: slow, half-open, oversized and pipelined connections hold up nobody else."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import starmap
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.callers import HANGS, Caller, closed, drained, post, until
from tests.reliability.conftest import Shown
from tests.reliability.figures import RELEASE, drawn, often
from tests.reliability.kept import BUNDLE
from tests.reliability.server import QUESTIONS, Server, right, running, without_id

pytestmark = pytest.mark.timeout(0 if RELEASE else 300)
CONNECTIONS = often(100, 1_000)
TOGETHER = 50
PATIENCE = 0.5
"""Seconds that the service gives a caller for a head, and again for a body."""
MIB = 1 << 20
HEAD = b"POST /v1/recommend HTTP/1.1\r\nHost: 127.0.0.1\r\n"
LENGTH = HEAD + b"Content-Length: %d\r\n\r\n"
GOOD = post("/v1/recommend", {"member": "m0003"})
LAST = post("/v1/recommend", {"member": "m0003"}, Connection="close")
CONTRADICTIONS = (
    HEAD + b"Content-Length: -5\r\n\r\n",
    HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}{}{}",
    HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}",
    HEAD + b"no colon here\r\n\r\n",
    b"GET http://\xff HTTP/1.1\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    b"\r\n\r\n\r\n\r\n",
)
"""What no HTTP is, TLS included."""

Pipe = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Way = Callable[[Pipe, random.Random], Awaitable[set[int]]]
"""Does something to a connection until the service has ended it; returns the codes it was told."""


def codes(said: bytes) -> list[int]:
    """Return the codes of all answers in what a service said, those after a body too."""
    return [int(one[:3]) for one in said.split(b"HTTP/1.1 ")[1:]]


async def heard(pipe: Pipe) -> set[int]:
    return set(codes(await drained(pipe[0])))


async def silent(pipe: Pipe, _: random.Random) -> set[int]:
    return await heard(pipe)


async def half_a_head(pipe: Pipe, rng: random.Random) -> set[int]:
    pipe[1].write(GOOD[: rng.randrange(1, GOOD.index(b"\r\n\r\n"))])
    return await heard(pipe)


async def half_a_body(pipe: Pipe, rng: random.Random) -> set[int]:
    pipe[1].write(GOOD[: rng.randrange(GOOD.index(b"\r\n\r\n") + 4, len(GOOD))])
    return await heard(pipe)


async def half_closed(pipe: Pipe, rng: random.Random) -> set[int]:
    pipe[1].write(GOOD[: rng.randrange(1, len(GOOD))])
    pipe[1].write_eof()
    return await heard(pipe)


async def slow(pipe: Pipe, rng: random.Random) -> set[int]:
    """A byte now and then: never nothing, never all."""
    reader, writer = pipe
    with suppress(OSError):
        for byte in GOOD:
            if reader.at_eof():
                break
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(rng.uniform(0, PATIENCE / 10))
    return await heard(pipe)


async def reset(pipe: Pipe, rng: random.Random) -> set[int]:
    """Gone in the middle, with a reset instead of an end."""
    pipe[1].write(GOOD[: rng.randrange(1, len(GOOD))])
    await pipe[1].drain()
    held: socket.socket = pipe[1].get_extra_info("socket")
    held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pipe[1].close()
    return set()


async def pushed(pipe: Pipe, pieces: list[bytes]) -> set[int]:
    """Send more and more, whatever the service says."""
    with suppress(OSError):
        for piece in pieces:
            pipe[1].write(piece)
            await pipe[1].drain()
    return await heard(pipe)


async def too_long_a_body(pipe: Pipe, _: random.Random) -> set[int]:
    return await pushed(pipe, [LENGTH % (64 * MIB), *[b" " * MIB] * 4])


async def too_long_in_chunks(pipe: Pipe, _: random.Random) -> set[int]:
    chunk = b"%x\r\n" % MIB + b" " * MIB + b"\r\n"
    return await pushed(pipe, [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 16])


async def too_long_a_head(pipe: Pipe, rng: random.Random) -> set[int]:
    lines = [b"X-%d: %s\r\n" % (n, b"a" * 1_000) for n in range(rng.randint(20, 100))]
    return await pushed(pipe, [HEAD, *lines])


async def contradicting(pipe: Pipe, rng: random.Random) -> set[int]:
    return await pushed(pipe, [rng.choice(CONTRADICTIONS)])


async def noise(pipe: Pipe, rng: random.Random) -> set[int]:
    return await pushed(pipe, [rng.randbytes(rng.randint(1, 2_000)) for _ in range(4)])


async def pipelined(pipe: Pipe, rng: random.Random) -> set[int]:
    """Many at once: all are answered."""
    many = rng.randint(2, 20)
    pipe[1].write(GOOD * many + LAST)
    said = codes(await drained(pipe[0]))
    assert said == [200] * (many + 1), said
    return set(said)


async def pipelined_then_noise(pipe: Pipe, rng: random.Random) -> set[int]:
    pipe[1].write(GOOD * rng.randint(1, 20) + b"no request\r\n\r\n")
    return await heard(pipe)


async def never_reading(pipe: Pipe, _: random.Random) -> set[int]:
    """Ask for much, read nothing, leave."""
    pipe[1].write(post("/v1/recommend/batch", {"members": ["m0003"] * 1_024, "slots": 20}))
    await asyncio.sleep(2 * PATIENCE)
    pipe[1].transport.abort()
    return set()


WAYS: dict[Way, set[int]] = {
    silent: set(),
    half_a_head: {400},
    half_a_body: {408},
    half_closed: {400},
    slow: {408},
    reset: set(),
    too_long_a_body: {413},
    too_long_in_chunks: {413},
    too_long_a_head: {431},
    contradicting: {400},
    noise: {400},
    pipelined: {200},
    pipelined_then_noise: {200, 400},
    never_reading: set(),
}
"""What is done -> what it may be told; nothing is always in order."""


async def tried(port: int, way: Way, rng: random.Random) -> set[int]:
    """Do something to a connection of its own; return what it was told."""
    pipe = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(HANGS):
            said = await way(pipe, rng)
    except TimeoutError:
        raise AssertionError(f"{way.__name__}: the service never ended it") from None
    finally:
        await closed(pipe[1])
    assert said <= WAYS[way], (way.__name__, said)
    return said


async def all_tried(server: Server, good: list[tuple[bytes, dict[str, Any]]]) -> tuple[int, int]:
    """Try all ways, many at once, while one asks well; return its answers and the most memory."""
    rng, peak, answers = drawn("bad connections"), 0, 0
    ways = [list(WAYS)[number % len(WAYS)] for number in range(CONNECTIONS)]
    caller = Caller(server.port)
    for first in range(0, CONNECTIONS, TOGETHER):
        some = asyncio.gather(
            *(tried(server.port, way, rng) for way in ways[first : first + TOGETHER])
        )
        while not some.done():
            request, answer = good[answers % len(good)]
            said = await caller.ask(request)
            assert (said.fate, said.status) == ("answered", 200), said
            assert without_id(said.json) == answer
            answers += 1
            peak = max(peak, server.held().rss)
            await asyncio.sleep(0.01)
        await some
    await caller.close()
    return answers, peak


def test_bad_connections_are_ended_and_hold_up_nobody(tmp_path: Path, shown: Shown) -> None:
    root = tmp_path / "bundles"
    good = list(zip(starmap(post, QUESTIONS), right(BUNDLE.put(root, 1)), strict=True))
    with running(tmp_path, root, body_seconds=PATIENCE) as server:
        asyncio.run(warmed(server, good))
        before = server.held()
        answers, peak = asyncio.run(all_tried(server, good))
        asyncio.run(until(lambda: server.held().descriptors <= before.descriptors, HANGS))
        after = server.held()
    assert [line for line in server.log() if line["event"] == "bug"] == []
    assert answers > 2 * CONNECTIONS // TOGETHER
    assert after.descriptors == before.descriptors
    # eight callers at once send 16 MiB each that nobody asked for: a service that kept it shows
    assert peak - before.rss < 64 * MIB
    shown(
        CONNECTIONS,
        f"{CONNECTIONS:,} connections of {len(WAYS)} bad kinds ended; {answers:,} good requests "
        f"beside them answered; memory at most {(peak - before.rss) / MIB:+.0f} MiB",
    )


async def warmed(server: Server, good: list[tuple[bytes, dict[str, Any]]]) -> None:
    """Ask well for a while: libraries are loaded, buffers are there."""
    caller = Caller(server.port)
    for number in range(200):
        assert (await caller.ask(good[number % len(good)][0])).status == 200
    held = server.held()
    await caller.close()
    await until(lambda: server.held().descriptors < held.descriptors)  # it has heard of the end


def test_answers_are_counted_whatever_stands_between_them() -> None:
    assert codes(b'HTTP/1.1 200 OK\r\n\r\n{"a": 1}HTTP/1.1 400 Bad Request\r\n\r\n') == [200, 400]
    assert not Counter(codes(b""))
