"""The last callers of a service that stops: whoever stood at the door is let in, and heard."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

CLOSE = (b"connection", b"close")
"""Header of answers while a service drains: what is sent on a connection that we close is lost."""
LAST_WORDS_SECONDS = 0.5
"""How long a caller who was let in just before the door closed may take to ask."""
MOMENT_SECONDS = 0.01
HANDSHAKE_SECONDS = 0.001
_ATTACH_FILTER = 26
"""SO_ATTACH_FILTER, which Python's socket does not name."""
_NO_OPENING = (
    (0x30, 0, 0, 13),  # load the byte of flags of the TCP header
    (0x54, 0, 0, 0x12),  # of these SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone opens a connection:
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFF_FFFF),  # let all else through
)
"""A classic BPF program (code, jump if true, if false, k), see Linux's networking/filter.rst."""


async def let_in(
    listening: Sequence[socket.socket],
    close: Callable[[], None],
    protocol: Callable[[], asyncio.Protocol],
) -> None:
    """Close the door (`close`) behind the last of those who stood before it.

    A socket that is closed while callers wait in its queue resets what they have sent already.
    """
    loop = asyncio.get_running_loop()
    for listener in listening:
        loop.remove_reader(listener)
    await asyncio.sleep(MOMENT_SECONDS)  # a crowd gathers, so that few are dropped
    for listener in listening:
        bar(listener)
    await asyncio.sleep(HANDSHAKE_SECONDS)  # whoever is half inside comes in
    late = [caller for listener in listening for caller in _at_the_door(listener)]
    close()
    for caller in late:
        await loop.connect_accepted_socket(protocol, caller)


def bar(listener: socket.socket) -> None:
    """Have the kernel drop who asks to come in, so that the queue ends; they ask again in a second.

    Without it a caller may come in between the last look at the queue and its end. Linux alone
    knows how; elsewhere nothing changes.
    """
    if sys.platform != "linux":
        return
    code = b"".join(struct.pack("HBBI", *step) for step in _NO_OPENING)
    kept = ctypes.create_string_buffer(code)
    program = struct.pack("@HP", len(_NO_OPENING), ctypes.addressof(kept))
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)


async def heard_out(connections: Iterable[Any]) -> None:
    """Wait until every connection has asked for something, but not for long."""
    ends = time.monotonic() + LAST_WORDS_SECONDS
    while time.monotonic() < ends and any(one.cycle is None for one in tuple(connections)):  # ruff: ignore[async-busy-wait]  # uvicorn tells of none
        await asyncio.sleep(MOMENT_SECONDS)


def _at_the_door(listener: socket.socket) -> list[socket.socket]:
    found = list[socket.socket]()
    with suppress(BlockingIOError):
        while True:
            caller, _ = listener.accept()
            caller.setblocking(False)
            found.append(caller)
    return found
