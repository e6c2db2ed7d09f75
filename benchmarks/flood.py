"""Callers of a service over plain sockets: each asks again at once, or all at a given pace.

One process, asyncio (one caller alone: a plain loop), HTTP/1.1 with keep-alive. A wait is counted
from the instant at which a request was due, not from the one at which a connection was free.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any

END = b"\r\n\r\n"
LENGTH = b"content-length:"
TICK = 0.001
"""Seconds between looks at what is due."""


@dataclass(frozen=True)
class Plan:
    """What is asked, by how many, for how long."""

    port: int
    file: str
    """A file of requests, each as it goes over the wire, in a JSON list."""
    connections: int
    seconds: float
    rate: float | None = None
    """Requests a second, evenly; None = each connection asks again once it is answered."""


@dataclass(frozen=True)
class Heard:
    """What came back in the time that was measured."""

    seconds: float
    waits: dict[int, list[float]]
    """Status -> seconds of each answer with it."""
    broken: int
    """Connections that the service closed."""


class _Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd, self._held = crowd, b""
        self._due = 0.0
        self._transport: Any = None
        self.left = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._crowd.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.left = True
        self._crowd.lost()

    def ask(self, due: float) -> None:
        self._due = due
        self._transport.write(next(self._crowd.questions))

    def data_received(self, data: bytes) -> None:
        held = self._held + data if self._held else data
        head = held.find(END)
        if head < 0 or len(held) < head + len(END) + _length(held[:head]):
            self._held = held
            return
        self._held = b""
        self._crowd.heard(int(held[9:12]), perf_counter() - self._due)
        self._crowd.free(self)


def _length(head: bytes) -> int:
    at = head.lower().find(LENGTH)
    return int(head[at + len(LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0


class Crowd:
    """All connections, and what they heard."""

    def __init__(self, plan: Plan, questions: Sequence[bytes]) -> None:
        """Take what is asked, in turn."""
        self._plan, self.questions = plan, cycle(questions)
        self._idle: deque[_Caller] = deque()
        self._due: deque[float] = deque()
        self._waits: dict[int, list[float]] = {}
        self._open = self._measured = False
        self._broken = 0

    async def run(self) -> Heard:
        """Connect, ask for a second unmeasured, then for as long as the plan says."""
        loop = asyncio.get_running_loop()
        for _ in range(self._plan.connections):
            await loop.create_connection(lambda: _Caller(self), "127.0.0.1", self._plan.port)
        self._open = True
        pace = asyncio.create_task(self._pace())
        await asyncio.sleep(min(1.0, self._plan.seconds / 2))
        self._measured, started = True, perf_counter()
        await asyncio.sleep(self._plan.seconds)
        self._measured, took = False, perf_counter() - started
        self._open = False
        pace.cancel()
        return Heard(took, self._waits, self._broken)

    def free(self, caller: _Caller) -> None:
        """Let a connection ask again: at once, for what is due, or later."""
        if self._open and self._plan.rate is None:
            caller.ask(perf_counter())
        elif self._open and self._due:
            caller.ask(self._due.popleft())
        else:
            self._idle.append(caller)

    def heard(self, status: int, seconds: float) -> None:
        """Keep what an answer took."""
        if self._measured:
            self._waits.setdefault(status, []).append(seconds)

    def lost(self) -> None:
        """Count a connection that was closed while asking."""
        self._broken += self._open

    async def _pace(self) -> None:
        rate = self._plan.rate
        if rate is None:
            while self._idle:
                self._idle.popleft().ask(perf_counter())
            return
        due = perf_counter()
        while True:
            now = perf_counter()
            while due <= now:
                self._due.append(due)
                due += 1 / rate
            while self._due and self._idle:
                caller = self._idle.popleft()
                if not caller.left:
                    caller.ask(self._due.popleft())
            await asyncio.sleep(TICK)


async def flood(plan: Plan) -> Heard:
    """Ask from a process of its own, so that callers take no time of the service's loop."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.flood",
        json.dumps(asdict(plan)),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await child.communicate()
    plain = json.loads(said)
    waits = {int(status): seconds for status, seconds in plain.pop("waits").items()}
    return Heard(**plain, waits=waits)


def post(path: str, body: dict[str, object]) -> str:
    """Write a request as it goes over the wire."""
    plain = json.dumps(body)
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(plain)}\r\n\r\n{plain}"
    )


def one_caller(plan: Plan, questions: Sequence[bytes]) -> Heard:
    """Ask again and again on one connection, without a loop that takes time of its own."""
    waits: dict[int, list[float]] = {}
    asking = cycle(questions)
    with socket.create_connection(("127.0.0.1", plan.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begun = perf_counter() + min(1.0, plan.seconds / 2)
        while (since := perf_counter()) < begun + plan.seconds:
            status = _answered(connection, next(asking))
            if since >= begun:
                waits.setdefault(status, []).append(perf_counter() - since)
    return Heard(plan.seconds, waits, 0)


def _answered(connection: socket.socket, question: bytes) -> int:
    """Ask, and return the status of the answer once all of it is there."""
    connection.sendall(question)
    held = b""
    while (head := held.find(END)) < 0 or len(held) < head + len(END) + _length(held[:head]):
        more = connection.recv(1 << 16)
        if not more:
            raise ConnectionError("the service closed the connection")
        held += more
    return int(held[9:12])


def main() -> None:
    """Ask as the argument says, and print what was heard."""
    plan = Plan(**json.loads(sys.argv[1]))
    questions = [text.encode() for text in json.loads(Path(plan.file).read_bytes())]
    if plan.connections == 1 and plan.rate is None:
        heard = one_caller(plan, questions)
    else:
        heard = asyncio.run(Crowd(plan, questions).run())
    print(json.dumps(asdict(heard)))


if __name__ == "__main__":
    main()
