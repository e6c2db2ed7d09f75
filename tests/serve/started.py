"""A service in a process of its own that is gone afterwards."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager

from recsys.serve.spec import Serve
from tests.serve.test_run import Process


@contextmanager
def started(spec: Serve) -> Generator[Process]:
    """Start it, and end it however the block ends."""
    process = Process(spec)
    try:
        yield process
    finally:
        process.child.kill()
        for pipe in (process.child.stdout, process.child.stderr):
            if pipe is not None:
                pipe.close()
        process.child.wait()


def send(url: str, said: bytes) -> bytes:
    """Send bytes as they are; return all that comes until the service closes."""
    host, _, port = url.removeprefix("http://").partition(":")
    heard = b""
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(said)
        while part := raw.recv(65_536):
            heard += part
    return heard
