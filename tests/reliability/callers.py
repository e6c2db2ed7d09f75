"""Callers over plain sockets, who know what became of every request they sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Literal

HANGS = 30.0
"""Seconds after which a request that has no answer is taken to hang."""
Fate = Literal["answered", "refused", "lost", "hung"]
"""refused: no connection was made; lost: it was sent whole, and no whole answer came."""

STATED = {"shelf_empty", "overloaded", "not_stored", "deadline"}
"""The only errors of 5xx."""


@dataclass(frozen=True)
class Heard:
    """What became of one request."""

    fate: Fate
    sent: float
    """Seconds of a clock that only runs forward."""
    done: float
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> dict[str, Any]:
        """The answer as the object that it is."""
        said: dict[str, Any] = json.loads(self.body)
        return said

    @property
    def stated(self) -> bool:
        """Whether an answer of 5xx is one of those that are promised, with when to come again."""
        known = self.json["error"] in STATED and self.status in {503, 504}
        return known and (self.status == 504 or self.headers.get("retry-after", "").isdecimal())

    @property
    def seconds(self) -> float:
        """What it took."""
        return self.done - self.sent


def wire(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Write a request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def post(path: str, asked: object, **headers: str) -> bytes:
    """Write a request with a JSON body."""
    return wire("POST", path, json.dumps(asked).encode(), **headers)


class Caller:
    """One connection that is kept open, and made anew where the service closed it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._pipe: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> Heard:
        """Send a request and wait for the end of it."""
        sent = monotonic()
        try:
            reader, writer = await self._open()
        except OSError:
            return Heard("refused", sent, monotonic())
        try:
            writer.write(request)
            async with asyncio.timeout(HANGS):
                return await self._answer(reader, sent, request.startswith(b"HEAD "))
        except TimeoutError:
            self.leave()
            return Heard("hung", sent, monotonic())
        except (OSError, EOFError):
            self.leave()
            return Heard("lost", sent, monotonic())

    def leave(self) -> None:
        """Close the connection."""
        if self._pipe is not None:
            self._pipe[1].close()
            self._pipe = None

    async def close(self) -> None:
        """Close the connection, and wait until it is."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            await closed(pipe[1])

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._pipe is not None and self._pipe[0].at_eof():
            self.leave()
        if self._pipe is None:
            self._pipe = await asyncio.open_connection("127.0.0.1", self.port)
        return self._pipe

    async def _answer(self, reader: asyncio.StreamReader, sent: float, head_only: bool) -> Heard:
        status, headers = await read_head(reader)
        while status == 100:  # what stands before the answer of who sent Expect
            status, headers = await read_head(reader)
        body = b""
        if not head_only:
            length = headers.get("content-length")
            body = await (reader.read() if length is None else reader.readexactly(int(length)))
        done = monotonic()
        if headers.get("connection") == "close":
            self.leave()
        return Heard("answered", sent, done, status, headers, body)


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Return the status and the headers of an answer, their names in lower case.

    Raises:
        EOFError: the connection was closed before.
    """
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = [line.partition(":")[::2] for line in lines if line]
    return int(first.split()[1]), {name.lower(): value.strip() for name, value in pairs}


@asynccontextmanager
async def crowd(
    port: int, callers: int, once: Callable[[Caller], Awaitable[object]]
) -> AsyncGenerator[None]:
    """Let so many callers do something again and again inside the block."""

    async def again() -> None:
        caller = Caller(port)
        try:
            while True:
                await once(caller)
                await asyncio.sleep(0)
        finally:
            await caller.close()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(again()) for _ in range(callers)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def until(happened: Callable[[], bool | Awaitable[bool]], seconds: float = 120) -> None:
    """Wait until something has happened, in another process for the most part.

    Raises:
        TimeoutError: it did not.
    """
    async with asyncio.timeout(seconds):
        while True:
            said = happened()
            if said if isinstance(said, bool) else await said:
                return
            await asyncio.sleep(0.005)


def quantile(seconds: Sequence[float], share: float) -> float:
    """Return a quantile in milliseconds; no values give nan."""
    ordered = sorted(seconds)
    return (
        1e3 * ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")
    )


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection, and wait until it is."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def drained(reader: asyncio.StreamReader, seconds: float = HANGS) -> bytes:
    """Return all that comes until the service closes the connection.

    Raises:
        TimeoutError: it does not close it.
    """
    said = bytearray()
    async with asyncio.timeout(seconds):
        with suppress(OSError):
            while more := await reader.read(65_536):
                said += more
    return bytes(said)
