from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from recsys.serve.wire import MAX_HEAD_BYTES, wire

ASK = b"POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nhi"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the body."""
    body = (await receive()).get("body", b"")
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


@asynccontextmanager
async def listening(head_seconds: float = 5.0) -> AsyncGenerator[tuple[Any, Any]]:
    """Open a connection to a server of this loop."""
    config = uvicorn.Config(echo, lifespan="off", log_config=None, http=wire(head_seconds))
    config.load()
    state = uvicorn.Server(config).server_state
    made: Any = config.http_protocol_class
    server = await asyncio.get_running_loop().create_server(
        lambda: made(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()


def told(*pieces: bytes, head_seconds: float = 5.0) -> bytes:
    """Send pieces one after the other; return all that comes until the connection is closed."""

    async def ask() -> bytes:
        async with listening(head_seconds) as (reader, writer):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            return bytes(await asyncio.wait_for(reader.read(), 20))

    return asyncio.run(ask())


CLOSE = ASK.replace(b"Host", b"Connection: close\r\nHost")


def test_questions_on_one_connection_are_answered_in_order_whole_or_in_pieces() -> None:
    answers = told(ASK, ASK[:30], ASK[30:], CLOSE.replace(b"hi", b"ho"))
    assert answers.count(b"HTTP/1.1 200") == 3
    assert answers.endswith(b"\r\n\r\nho")


def test_head_and_body_of_an_answer_go_out_at_once() -> None:
    async def ask() -> bytes:
        async with listening() as (reader, writer):
            writer.write(ASK)
            return bytes(await asyncio.wait_for(reader.read(1000), 20))

    assert asyncio.run(ask()).endswith(b"\r\n\r\nhi")


def test_an_answer_without_a_body_goes_out_too() -> None:
    async def ask() -> bytes:
        async with listening() as (reader, writer):
            writer.write(b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n")
            return bytes(await asyncio.wait_for(reader.read(1000), 20))

    assert asyncio.run(ask()).startswith(b"HTTP/1.1 200")


def test_a_caller_who_waits_for_leave_to_send_a_body_gets_it() -> None:
    head, body = CLOSE.replace(b"Host", b"Expect: 100-continue\r\nHost")[:-2], b"hi"
    answers = told(head, body)
    assert answers.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")


def long_head(size: int) -> bytes:
    return ASK.replace(b"Host", b"X-Long: " + b"a" * size + b"\r\nHost")


def test_a_head_that_is_too_large_is_431_whether_it_ends_or_not() -> None:
    for pieces in (
        (long_head(MAX_HEAD_BYTES),),
        (long_head(10 * MAX_HEAD_BYTES),),
        tuple(b"GET / HTTP/1.1\r\nX: " if not n else b"a" * 4096 for n in range(5)),
        (b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n",),
    ):
        answer = told(*pieces)
        assert answer.startswith(b"HTTP/1.1 431")
        assert b"head_too_large" in answer
        assert answer.count(b"HTTP/1.1") == 1


def test_a_head_within_bounds_is_answered() -> None:
    answer = told(long_head(MAX_HEAD_BYTES - 500).replace(b"Host", b"Connection: close\r\nHost"))
    assert answer.startswith(b"HTTP/1.1 200")


def test_who_sends_nothing_half_a_head_or_empty_lines_is_closed() -> None:
    for pieces in ((), (ASK[:20],), (ASK, b"\r\n"), (ASK, ASK[:9])):
        answer = told(*pieces, head_seconds=0.1)
        assert answer.count(b"HTTP/1.1 200") == (ASK in pieces)


def test_what_is_no_http_is_refused() -> None:
    assert told(b"\x16\x03\x01 what\r\n\r\n").startswith(b"HTTP/1.1 400")
