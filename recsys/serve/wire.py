"""HTTP on one connection: uvicorn's, with bounds on how long and how large a head may be."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from recsys.serve.limits import CROWDED, IN_FLIGHT, WHOLE

MAX_HEAD_BYTES = 16 << 10
"""Longest head of a request: its address and headers; longer ones get 431."""
LINGER_SECONDS = 1.0
"""How long a refused caller may go on sending: it is read by nobody."""
_TOO_LARGE = msgspec.json.encode({
    "error": "head_too_large",
    "message": f"an address and its headers have at most {MAX_HEAD_BYTES:,} bytes",
    "request_id": "",
})


class _Joined:
    """A transport that sends the head of an answer with its body, not before it."""

    def __init__(self, transport: Any) -> None:
        self._transport, self._head = transport, b""

    def write(self, data: bytes) -> None:
        """Keep a head until there is more; send anything else, behind the head that was kept."""
        whole = data[-4:] == b"\r\n\r\n" and data[9:10] != b"1"  # not: 100 Continue
        if whole and not self._head and data[:9] == b"HTTP/1.1 ":
            self._head = data
            return
        self._transport.write(self._head + data)
        self._head = b""

    def flush(self) -> None:
        """Send a head that no body follows."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Send what is kept, then close."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Wire(HttpToolsProtocol):
    """Closes what sends no head in time, refuses what sends too large a one."""

    head_seconds = 5.0
    """How long a caller may take to send a head, from the first byte or the connection on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Wait for the first head."""
        super().__init__(*args, **kwargs)
        # who is one too many is told by us, in the one form of errors
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._in_head, self._refused = True, False
        self._head_bytes = 0
        self._bell: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait."""
        self._joined = _Joined(transport)
        super().connection_made(self._joined)  # type: ignore[arg-type]  # as uvicorn's own
        self._bell = self.loop.call_later(self.head_seconds, self._close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._quiet()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; what is not yet a whole head counts against its bounds."""
        if self._refused:
            return
        super().data_received(data)
        if self._refused or not (self._in_head or self._idle):
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse()
        elif self._bell is None:
            self._bell = self.loop.call_later(self.head_seconds, self._close)

    @property
    def _idle(self) -> bool:
        """Whether what arrived begins no request: uvicorn has stopped counting how long."""
        answered = self.cycle is not None and self.cycle.response_complete
        return answered and self.timeout_keep_alive_task is None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, unless it is refused already."""
        if not self._refused:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """Count anew."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # keys of our own
        scope[IN_FLIGHT] = self.tasks

    def on_headers_complete(self) -> None:
        """Let a request in whose head is within bounds."""
        self._in_head = False
        self._quiet()
        told = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if self._refused:
            return
        if told > MAX_HEAD_BYTES:
            self._refuse()
            return
        if self._most and max(len(self.connections), len(self.tasks)) >= self._most:
            scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # keys of our own
            scope[CROWDED] = True
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Send an answer that is a head alone."""
        self._joined.flush()
        super().on_response_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body; that of a refused request is nobody's."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a body; what came with its head need not be waited for."""
        if not self._refused:
            scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # keys of our own
            scope[WHOLE] = time.monotonic()
            super().on_message_complete()

    def _quiet(self) -> None:
        if self._bell is not None:
            self._bell.cancel()
            self._bell = None

    def _close(self) -> None:
        self._bell = None
        if not self.transport.is_closing():
            self.transport.close()

    def _refuse(self) -> None:
        self._refused = True
        self._quiet()
        head = (
            "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
            f"content-length: {len(_TOO_LARGE)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + _TOO_LARGE)
        self.transport.write_eof()
        # closing while more arrives would reset the connection before this is read
        self._bell = self.loop.call_later(LINGER_SECONDS, self._close)


def wire(head_seconds: float) -> type[Wire]:
    """Return the protocol with another time for heads."""
    return type("Wire", (Wire,), {"head_seconds": head_seconds})
