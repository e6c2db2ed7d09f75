"""Promise 7: whatever is asked, nothing breaks, nothing hangs, and the next one is answered."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import starmap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.reliability.callers import Caller, Heard, post
from tests.reliability.conftest import Shown
from tests.reliability.drawn_requests import Drawn, requests
from tests.reliability.figures import DRAWS, RELEASE, times
from tests.reliability.kept import BUNDLE
from tests.reliability.server import QUESTIONS, right, running, without_id

pytestmark = pytest.mark.timeout(0 if RELEASE else 900)
EVERY = 100
"""Requests after which a good one is asked."""


@dataclass
class Asked:
    """All that was asked, and what came of it."""

    caller: Caller
    runner: asyncio.Runner
    kinds: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    well: int = 0
    """Valid requests that were answered as such."""

    def ask(self, drawn: Drawn) -> Heard:
        """Ask, and count."""
        heard = self.say(sent(drawn))
        self.kinds[drawn.kind] += 1
        self.codes[heard.status] += 1
        self.well += drawn.kind == "valid" and heard.status < 300
        return heard

    def say(self, request: bytes) -> Heard:
        """Ask for something in the bytes that go over the wire."""
        return self.runner.run(self.caller.ask(request))


def sent(drawn: Drawn) -> bytes:
    """Write a request as it goes over the wire; what no address may hold stays as it is."""
    lines = [f"{drawn.method} {drawn.path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in drawn.headers.items()]
    head = "\r\n".join([*lines, f"Content-Length: {len(drawn.body)}", "", ""])
    return head.encode("latin-1") + drawn.body


@pytest.fixture(name="runner")
def _runner() -> Generator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def fault(drawn: Drawn, heard: Heard) -> str:
    """Return what is wrong with an answer; nothing where it is in order."""
    if heard.fate != "answered":
        return heard.fate
    if heard.status < 400 or drawn.method == "HEAD":
        return "" if heard.status < 500 else "5xx"
    if heard.status == 400 and heard.headers["content-type"].startswith("text/plain"):
        return ""  # no HTTP: nobody further in has seen it
    told = heard.headers["content-type"] == "application/json"
    said = heard.json if told else {}
    if set(said) != {"error", "message", "request_id"}:
        return "another form of errors"
    return "" if heard.status < 500 or heard.stated else "5xx"


def test_no_request_breaks_the_service_or_hangs(
    tmp_path: Path, runner: asyncio.Runner, shown: Shown
) -> None:
    root = tmp_path / "bundles"
    good = list(zip(starmap(post, QUESTIONS), right(BUNDLE.put(root, 1)), strict=True))
    with running(tmp_path, root) as server:
        asked = Asked(Caller(server.port), runner)

        @seed(DRAWS)
        @settings(
            max_examples=times(7),
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(requests())
        def ask(drawn: Drawn) -> None:
            heard = asked.ask(drawn)
            assert not fault(drawn, heard), (heard.status, heard.body[:300])
            if asked.kinds.total() % EVERY == 0:
                request, answer = good[asked.kinds.total() // EVERY % len(good)]
                assert without_id(asked.say(request).json) == answer

        try:
            ask()
        finally:
            runner.run(asked.caller.close())
    assert [line for line in server.log() if line["event"] == "bug"] == []
    assert asked.kinds.total() >= times(7)
    assert min(asked.kinds.values()) > times(7) // 5
    assert asked.well > asked.kinds["valid"] // 3
    codes = ", ".join(f"{code}: {n:,}" for code, n in sorted(asked.codes.items()))
    shown(
        asked.kinds.total(),
        f"{', '.join(f'{n:,} {kind}' for kind, n in sorted(asked.kinds.items()))}; answers {codes}",
    )


@pytest.mark.parametrize(
    ("status", "headers", "said", "wrong"),
    [
        (200, {}, {}, ""),
        (422, {}, {"error": "invalid", "message": "", "request_id": ""}, ""),
        (422, {}, {"detail": "invalid"}, "another form of errors"),
        (500, {}, {"error": "internal_error", "message": "", "request_id": ""}, "5xx"),
        (503, {}, {"error": "overloaded", "message": "", "request_id": ""}, "5xx"),
        (503, {"retry-after": "1"}, {"error": "overloaded", "message": "", "request_id": ""}, ""),
    ],
)
def test_a_broken_answer_would_be_seen(
    status: int, headers: dict[str, str], said: dict[str, str], wrong: str
) -> None:
    drawn = Drawn("valid", "GET", "/v1/shelf", b"", {})
    headers = {"content-type": "application/json"} | headers
    heard = Heard("answered", 0, 1, status, headers, json.dumps(said).encode())
    assert fault(drawn, heard) == wrong
    assert fault(drawn, Heard("hung", 0, 1)) == "hung"
