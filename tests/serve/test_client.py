"""A caller's side: typed answers, another try where it helps, and never longer than agreed."""

from __future__ import annotations

import ast
import json
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recsys.serve import answers, client
from recsys.serve.client import Client, ServiceError

PLACE = {
    "slot": 1,
    "sale": "s1",
    "title": None,
    "brand": "B",
    "taste": 0.5,
    "new": 0.25,
    "curated": 0.0,
    "gain": 0.75,
    "reason": "new_to_you",
    "because": "new to you",
    "evidence": None,
    "flags": ["explored"],
    "propensity": 0.1,
    "later": "a field this client does not know",
}
SLATE = {
    "member": "m1",
    "sales": [PLACE],
    "fallback": "personalised",
    "short": True,
    "generation": "g",
    "policy": "p",
    "at": "2026-11-27T12:00:00Z",
}
Reply = tuple[int, dict[str, str], Any]
BUSY: Reply = (503, {"Retry-After": "2"}, {"error": "busy", "message": "come again"})


class Scripted(ThreadingHTTPServer):
    """Answers from a list, the last one again and again, and keeps what it was asked."""

    def __init__(self, replies: list[Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies, self.asked = replies, list[tuple[str, dict[str, str], Any]]()
        self.clients = list[Client]()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Scripted)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server.asked.append((self.path, dict(self.headers), json.loads(body or b"null")))
        replies = server.replies
        status, headers, said = replies.pop(0) if len(replies) > 1 else replies[0]
        text = json.dumps(said).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@contextmanager
def scripted(*replies: Reply) -> Generator[Scripted]:
    server = Scripted(list(replies))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        for one in server.clients:
            one.close()
        server.shutdown()
        thread.join()
        server.server_close()


def of(server: Scripted, **more: Any) -> Client:
    """A client of the server, closed with it."""
    made = Client(f"http://127.0.0.1:{server.server_port}", **more)
    server.clients.append(made)
    return made


def test_answers_are_typed_and_new_fields_do_not_break_them() -> None:
    with scripted((200, {}, SLATE)) as server:
        slate = of(server, key="secret").recommend("m1", slots=3, exclude=["s2"])
    assert (slate.member, slate.generation, slate.policy, slate.short) == ("m1", "g", "p", True)
    assert (slate.places[0].sale, slate.places[0].flags) == ("s1", ("explored",))
    path, headers, asked = server.asked[0]
    assert (path, asked) == ("/v1/recommend", {"member": "m1", "slots": 3, "exclude": ["s2"]})
    assert headers["Authorization"] == "Bearer secret"


def test_its_records_are_those_of_the_service() -> None:
    for ours, theirs in ((client.Place, answers.Place), (client.Near, answers.Near)):
        said = {field.name for field in msgspec.structs.fields(theirs)}
        assert {field.name for field in fields(ours)} == said


def test_a_busy_service_is_asked_again_after_as_long_as_it_says() -> None:
    slept = list[float]()
    with scripted(BUSY, BUSY, (200, {}, SLATE)) as server:
        slate = of(server, sleep=slept.append).recommend("m1")
    assert slate.member == "m1"
    assert slept == [2.0, 2.0]


def test_a_refusal_is_not_asked_again() -> None:
    refusal: Reply = (422, {}, {"error": "invalid", "message": "slots is a number"})
    with scripted(refusal) as server, pytest.raises(ServiceError, match="slots is a number") as no:
        of(server).recommend("m1")
    assert (no.value.status, no.value.error, len(server.asked)) == (422, "invalid", 1)


def test_it_gives_up_after_its_tries() -> None:
    slept = list[float]()
    with scripted(BUSY) as server, pytest.raises(ServiceError, match="come again"):
        of(server, tries=3, sleep=slept.append).recommend("m1")
    assert (len(server.asked), len(slept)) == (3, 2)


def test_it_does_not_wait_beyond_its_deadline() -> None:
    later: Reply = (503, {"Retry-After": "3600"}, {"error": "shelf_empty", "message": "at noon"})
    with scripted(later) as server, pytest.raises(ServiceError, match="at noon"):
        of(server, deadline=5.0).recommend("m1")
    assert len(server.asked) == 1


def test_a_service_that_says_nothing_is_left_at_the_deadline() -> None:
    with scripted((200, {}, SLATE)) as server:
        caller = of(server, deadline=0.3)
        server.replies.clear()  # its handler fails, and the connection closes without an answer
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        with pytest.raises(ServiceError, match="no_answer"):
            caller.recommend("m1")


def test_a_closed_connection_is_opened_again() -> None:
    with scripted((200, {"Connection": "close"}, SLATE)) as server:
        caller = of(server)
        assert [caller.recommend("m1").member for _ in range(3)] == ["m1"] * 3


def test_a_block_ends_the_connection_and_the_next_question_opens_it_again() -> None:
    with scripted((200, {}, SLATE)) as server:
        with Client(f"http://127.0.0.1:{server.server_port}") as shop:
            assert shop.recommend("m1").member == "m1"
            assert shop._connection.sock is not None
        assert shop._connection.sock is None
        assert shop.recommend("m1").member == "m1"
        shop.close()


@pytest.mark.parametrize("said", [[], "busy", None])
def test_what_no_service_of_ours_says_is_no_answer(said: object) -> None:
    with scripted((502, {}, said)) as server, pytest.raises(ServiceError, match="no_answer"):
        of(server, tries=1).recommend("m1")


def test_many_members_are_asked_for_in_parts() -> None:
    part = {"slates": [SLATE], "generation": "g", "policy": "p", "at": "now"}
    with scripted((200, {}, part)) as server:
        slates = of(server).batch([f"m{number}" for number in range(2500)], channel="mail")
    assert [len(asked["members"]) for _, _, asked in server.asked] == [1024, 1024, 452]
    assert {asked["channel"] for _, _, asked in server.asked} == {"mail"}
    assert len(slates) == 3


def test_what_members_did_is_told_in_parts() -> None:
    event = {"member": "m1", "kind": "visit", "at": "2026-11-27T12:00:00Z"}
    with scripted(
        (200, {}, {"events": 1024, "outcomes": 0}),
        (200, {}, {"events": 6, "outcomes": 0}),
        (200, {}, {"events": 0, "outcomes": 1}),
    ) as server:
        assert of(server).feedback([event] * 1030, [{"send_id": "noon"}]) == 1031
    assert [sorted(asked) for _, _, asked in server.asked] == [["events"], ["events"], ["outcomes"]]


def test_it_is_one_file_of_the_standard_library() -> None:
    tree = ast.parse(Path(client.__file__).read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert len(names) > 5
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
