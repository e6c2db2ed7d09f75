"""What stands before every route: ids, keys, bodies, deadlines, counts, one form of error."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recsys.domain.errors import SettingError
from recsys.serve.guard import Guard
from recsys.serve.metrics import Metrics
from recsys.serve.refusal import RefusedError, late, overloaded
from recsys.serve.spec import Serve
from recsys.serve.watch import tell

REQUEST_ID = "recsys.request_id"
BODY = "recsys.body"
UNTIL = "recsys.until"
"""Keys of a request's scope: its id, its body, and when its deadline is over (monotonic s)."""
WHOLE = "recsys.whole"
IN_FLIGHT = "recsys.in_flight"
CROWDED = "recsys.crowded"
"""Keys that our connections set: when the whole body had arrived (monotonic s); the requests begun
and not answered, those included that arrived at the same moment; more are open than may be."""
Route = Callable[[Request], Awaitable[Response]]
Refusals = Callable[[Request, Exception], Response]
DEADLINE = b"x-deadline-ms"
MOST_DIGITS = 10
LIVE = "/livez"
"""Answered however many ask: a service that has much to do is not to be started again."""
DRAWN = 256
"""Ids drawn at once."""


@dataclass(frozen=True)
class Hot:
    """Which paths there are, and which are answered without the app: its layers take longer."""

    routes: frozenset[str]
    """Paths of all routes; others are counted as one."""
    posts: Mapping[str, Route]
    """Path -> what answers a POST."""
    refused: Refusals
    """Turns a refusal into its answer."""


class Front:
    """Asks for keys, reads bodies, gives ids, counts; what nobody caught becomes a plain 500."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        spec: Serve,
        guard: Guard,
        metrics: Metrics,
        hot: Hot,
    ) -> None:
        """Stand before an app, and answer what is asked most often without asking it."""
        self._app, self._spec, self._guard = app, spec, guard
        self._metrics, self._hot = metrics, hot
        self._ids = _drawn()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = next(self._ids)
        scope[REQUEST_ID] = request_id
        header = (b"x-request-id", request_id.encode())
        started = time.perf_counter()
        status = 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append(header)
            await send(message)

        self._metrics.inflight += 1
        try:
            await self._answer(scope, receive, counted)
        except Exception as error:  # ruff: ignore[blind-except]  # the caller gets a 500, the log the place
            _tell_bug(error, request_id)
            if not status:
                await bug().response(request_id)(scope, receive, counted)
        finally:
            self._metrics.inflight -= 1
            route = scope["path"] if scope["path"] in self._hot.routes else "other"
            self._metrics.answered(route, status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            wait = self._admit(scope)
            scope[BODY] = await self._read(scope, receive)
            scope[UNTIL] = scope.get(WHOLE, time.monotonic()) + wait
        except TimeoutError:
            refused = RefusedError(408, "too_slow", "the body took too long to arrive")
        except RefusedError as error:
            refused = error
        else:
            await self._routed(scope, receive, send)
            return
        self._metrics.rejected.labels(refused.error).inc()
        # a body that was not read stands in the way of the next request
        refused.headers["Connection"] = "close"
        await refused.response(scope[REQUEST_ID])(scope, receive, send)

    def _admit(self, scope: Scope) -> float:
        """Let a request in; return the seconds that it may take from its last byte on."""
        if CROWDED in scope and scope["path"] != LIVE:
            raise overloaded(f"{self._spec.connections} connections are open already")
        self._guard.admit(scope)
        return self._deadline(scope)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        most = self._spec.max_body_bytes
        if WHOLE in scope:
            return await _body(scope, receive, most)
        async with asyncio.timeout(self._spec.body_seconds):
            return await _body(scope, receive, most)

    def _deadline(self, scope: Scope) -> float:
        """Return the seconds that a request may take: a caller may lower them."""
        for name, value in scope["headers"]:
            if name == DEADLINE:
                if not (value.isdigit() and 0 < len(value) < MOST_DIGITS and int(value)):
                    raise RefusedError(422, "invalid", "X-Deadline-Ms is a number, 1 or more")
                return min(self._spec.deadline_seconds, int(value) / 1000)
        return self._spec.deadline_seconds

    async def _routed(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._hot.posts.get(scope["path"]) if scope["method"] == "POST" else None
        if route is None:
            # outside of an app, Starlette says in a form of its own that there is no such route
            scope.setdefault("app", self._app)
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            in_time(request)
            response = await route(request)
        except (RefusedError, SettingError) as error:
            response = self._hot.refused(request, error)
        await response(scope, receive, send)


def in_time(request: Request) -> None:
    """Go on with a request whose deadline is not over.

    Raises:
        RefusedError: 504 it is over.
    """
    if time.monotonic() >= request.scope[UNTIL]:
        raise late()


def alone(request: Request) -> bool:
    """Return whether no other request is in flight, as far as the connections tell."""
    return len(request.scope.get(IN_FLIGHT, "??")) == 1


def _drawn() -> Iterator[str]:
    """Draw ids of 16 hex digits; the system is asked for many at once, as asking takes longest."""
    while True:
        digits = secrets.token_hex(8 * DRAWN)
        yield from (digits[first : first + 16] for first in range(0, len(digits), 16))


async def _body(scope: Scope, receive: Receive, most: int) -> bytes:
    """Read a body; never hold more than one chunk beyond the bound."""
    if scope["method"] in {"GET", "HEAD"}:
        return b""
    if WHOLE not in scope:
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced[:20]) > most:
            raise _too_large(most)
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedError(400, "gone", "the caller left before the body was there")
        part: bytes = message.get("body", b"")
        body += part
        more = message.get("more_body", False)
        if len(body) > most:
            raise _too_large(most)
    return bytes(body)


def _too_large(most: int) -> RefusedError:
    return RefusedError(413, "body_too_large", f"a body has at most {most:,} bytes")


def bug() -> RefusedError:
    """Return what a caller is told of a bug."""
    return RefusedError(500, "internal_error", "a bug of the service; it is in its log")


def _tell_bug(error: Exception, request_id: str) -> None:
    """Log where a bug is; never its message, which may hold what a caller sent."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    code = None if trace is None else trace.tb_frame.f_code
    place = "?" if code is None or trace is None else f"{code.co_filename}:{trace.tb_lineno}"
    tell("bug", level=logging.ERROR, request_id=request_id, kind=type(error).__name__, place=place)
