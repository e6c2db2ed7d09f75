"""Nobody is lost at the door: who came before it closed is heard, who comes after is told."""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import closing

import pytest

from recsys.serve import leaving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone filters a socket")
PATIENCE = 0.3
"""Seconds, fewer than a kernel waits before it asks again."""


def door() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    return listener


def comes(listener: socket.socket) -> socket.socket:
    return socket.create_connection(listener.getsockname(), timeout=PATIENCE)


def test_behind_a_barred_door_nobody_queues_and_those_before_it_are_heard() -> None:
    with closing(door()) as listener, comes(listener) as early:
        early.sendall(b"first")
        leaving.bar(listener)
        with pytest.raises(TimeoutError):
            comes(listener)
        early.sendall(b" and more")
        (inside,) = leaving._at_the_door(listener)
        with inside:
            inside.setblocking(True)
            inside.settimeout(PATIENCE)
            assert inside.recv(100, socket.MSG_WAITALL)[:5] == b"first"
            inside.sendall(b"heard")
            assert early.recv(5) == b"heard"


def test_who_was_dropped_is_refused_once_the_door_is_closed() -> None:
    listener = door()
    leaving.bar(listener)
    address = listener.getsockname()
    with socket.socket() as late:
        late.setblocking(False)
        assert late.connect_ex(address) == errno.EINPROGRESS
        listener.close()
        # the kernel asks again after a second, and hears that nobody listens
        select.select([], [late], [], 5)
        assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


@pytest.mark.parametrize("barred", [True, False])
def test_who_comes_between_the_last_look_and_the_end_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, barred: bool
) -> None:
    look, between = leaving._at_the_door, list[socket.socket]()

    def slow(listener: socket.socket) -> list[socket.socket]:
        found = look(listener)
        between.append(socket.socket())
        between[-1].setblocking(False)
        between[-1].connect_ex(listener.getsockname())
        time.sleep(0.05)
        return found

    monkeypatch.setattr(leaving, "_at_the_door", slow)
    if not barred:
        monkeypatch.setattr(leaving, "bar", lambda _: None)
    fates = stopped()
    assert min(fates["answered"], fates["refused"]) > 0
    (late,) = between
    with late:
        assert select.select([], [late], [], 5)[1]
        refused = late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
    assert refused is barred
    if barred:
        assert not fates["lost"], fates


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.write(data)


def ask(address: tuple[str, int]) -> str:
    """Come once, ask one thing."""
    try:
        with socket.create_connection(address, timeout=5) as caller:
            caller.sendall(b"?")
            return "answered" if caller.recv(1) == b"?" else "lost"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "lost"


def stopped() -> Counter[str]:
    """Close the door while somebody new comes every two milliseconds, until one is refused."""
    listener, fates = door(), Counter[str]()
    address, over = listener.getsockname(), threading.Event()

    def comes_once() -> None:
        fates[ask(address)] += 1

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Echo, sock=listener)
        await asyncio.sleep(0.1)
        await leaving.let_in([listener], server.close, Echo)
        await asyncio.to_thread(over.wait, 10)

    def crowd() -> None:
        callers = list[threading.Thread]()
        while not fates["refused"]:
            callers.append(threading.Thread(target=comes_once))
            callers[-1].start()
            time.sleep(0.002)
        for caller in callers:
            caller.join()
        over.set()

    street = threading.Thread(target=crowd)
    street.start()
    asyncio.run(serve())
    street.join()
    return fates
