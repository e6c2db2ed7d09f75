"""What stands before every route: ids, keys, bodies within bounds, counts, one form of error."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recsys.serve.guard import Guard
from recsys.serve.metrics import Metrics
from recsys.serve.refusal import RefusedError
from recsys.serve.spec import Serve
from recsys.serve.watch import tell

REQUEST_ID = "recsys.request_id"
BODY = "recsys.body"
"""Keys of a request's scope."""


class Front:
    """Asks for keys, reads bodies, gives ids, counts; what nobody caught becomes a plain 500."""

    def __init__(
        self, app: ASGIApp, *, spec: Serve, guard: Guard, metrics: Metrics, routes: frozenset[str]
    ) -> None:
        """Stand before an app whose paths are `routes`; other paths are counted as one."""
        self._app, self._spec, self._guard = app, spec, guard
        self._metrics, self._routes = metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        scope[REQUEST_ID] = request_id
        started = time.perf_counter()
        status = 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        self._metrics.inflight.inc()
        try:
            await self._answer(scope, receive, counted)
        except Exception as error:  # ruff: ignore[blind-except]  # the caller gets a 500, the log the place
            _tell_bug(error, request_id)
            if not status:
                bug = RefusedError(500, "internal_error", "a bug of the service; it is in its log")
                await bug.response(request_id)(scope, receive, counted)
        finally:
            self._metrics.inflight.dec()
            route = scope["path"] if scope["path"] in self._routes else "other"
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._guard.admit(scope)
            scope[BODY] = await asyncio.wait_for(
                _body(scope, receive, self._spec.max_body_bytes), self._spec.body_seconds
            )
        except TimeoutError:
            refused = RefusedError(408, "too_slow", "the body took too long to arrive")
        except RefusedError as error:
            refused = error
        else:
            await self._app(scope, receive, send)
            return
        self._metrics.rejected.labels(refused.error).inc()
        # a body that was not read stands in the way of the next request
        refused.headers["Connection"] = "close"
        await refused.response(scope[REQUEST_ID])(scope, receive, send)


async def _body(scope: Scope, receive: Receive, most: int) -> bytes:
    """Read a body; never hold more than one chunk beyond the bound."""
    if scope["method"] in {"GET", "HEAD"}:
        return b""
    too_large = RefusedError(413, "body_too_large", f"a body has at most {most:,} bytes")
    announced = dict(scope["headers"]).get(b"content-length", b"0")
    if announced.isdigit() and int(announced[:20]) > most:
        raise too_large
    body = bytearray()
    more = True
    while more:
        message: dict[str, Any] = dict(await receive())
        if message["type"] == "http.disconnect":
            raise RefusedError(400, "gone", "the caller left before the body was there")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > most:
            raise too_large
    return bytes(body)


def _tell_bug(error: Exception, request_id: str) -> None:
    """Log where a bug is; never its message, which may hold what a caller sent."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    code = None if trace is None else trace.tb_frame.f_code
    place = "?" if code is None or trace is None else f"{code.co_filename}:{trace.tb_lineno}"
    tell("bug", level=logging.ERROR, request_id=request_id, kind=type(error).__name__, place=place)
