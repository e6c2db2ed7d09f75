from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from recsys.serve import limits, turns
from recsys.serve.bundle import Bundle
from recsys.serve.limits import UNTIL
from tests.serve.asking import Service, refused
from tests.serve.crowds import crowd_of

KNOWN = "m0003"


@pytest.fixture(name="service")
def _service(bundle: Bundle, tmp_path: Path) -> Service:
    return Service(bundle.folder.parent, feedback=str(tmp_path / "feedback"))


def until_of(service: Service, monkeypatch: pytest.MonkeyPatch, **headers: str) -> float:
    """Ask for a slate; return the seconds that it might have waited."""
    seen: list[float] = []
    ask = turns.Turns.ask

    async def noted(
        self: turns.Turns, kind: Any, question: Any, *, until: float, alone: bool
    ) -> Any:
        seen.append(until)
        return await ask(self, kind, question, until=until, alone=alone)

    with monkeypatch.context() as patched:
        patched.setattr(turns.Turns, "ask", noted)
        patched.setattr(limits, "time", _Standing)
        answer = service.client.post("/v1/recommend", json={"member": KNOWN}, headers=headers)
    assert answer.status_code in {200, 504}
    return seen[0] - 1000.0


def test_a_caller_may_lower_the_deadline_and_not_raise_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert until_of(service, monkeypatch) == pytest.approx(1.0)
    assert until_of(service, monkeypatch, **{"X-Deadline-Ms": "250"}) == pytest.approx(0.25)
    assert until_of(service, monkeypatch, **{"X-Deadline-Ms": "90000"}) == pytest.approx(1.0)


@pytest.mark.parametrize("said", ["0", "-1", "soon", "1e3", "9" * 40, "", "\u00b2"])
def test_a_deadline_that_is_no_number_is_refused(service: Service, said: str) -> None:
    answer = service.client.post(
        "/v1/recommend", json={"member": KNOWN}, headers={"X-Deadline-Ms": said.encode("latin-1")}
    )
    assert "X-Deadline-Ms" in refused(answer, 422, "invalid")


def test_a_deadline_that_is_over_is_504_and_no_slate(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "time", _Earlier)
    answer = service.client.post("/v1/recommend", json={"member": KNOWN})
    refused(answer, 504, "deadline")
    assert 'recsys_rejected_total{reason="deadline"} 1.0' in service.client.get("/metrics").text


POSTS: dict[str, dict[str, Any]] = {
    "/v1/recommend": {"member": KNOWN},
    "/v1/recommend/batch": {"members": [KNOWN]},
    "/v1/explain": {"member": KNOWN, "sale": "s0001"},
    "/v1/similar": {"sale": "s0001"},
    "/v1/feedback": {"events": [{"member": KNOWN, "kind": "visit", "at": "2026-04-01T12:00:00Z"}]},
    "/v1/admin/reload": {},
}


class _Leaping:
    """A clock that goes on by two seconds whenever it is looked at."""

    perf_counter = time.perf_counter
    now = 1e9

    def monotonic(self) -> float:
        self.now += 2.0
        return self.now


def test_no_post_is_begun_once_its_deadline_is_over(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {route.path for route in service.app.routes if "POST" in (route.methods or ())}  # type: ignore[attr-defined]  # all are Starlette's
    assert paths == set(POSTS), "name the new route's body"
    monkeypatch.setattr(limits, "time", _Leaping())
    for path, body in POSTS.items():
        refused(service.post(path, **body), 504, "deadline")
    monkeypatch.undo()
    assert not list((tmp_path / "feedback").glob("*")), "nothing was stored"


def test_a_batch_ends_between_two_blocks_once_its_deadline_is_over(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided: list[int] = []
    generation = service.live.generation
    decide = generation.decide

    def counted(members: Any, **more: Any) -> Any:
        decided.append(len(members))
        if len(decided) == 2:
            monkeypatch.setattr(limits, "time", _Leaping())
        return decide(members, **more)

    monkeypatch.setattr(generation, "decide", counted)
    answer = service.post("/v1/recommend/batch", members=[KNOWN] * 1_024)
    refused(answer, 504, "deadline")
    assert decided == [64, 64]


def test_who_is_described_or_asks_why_waits_for_a_turn_like_all_others(
    service: Service, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "time", _Earlier)  # in time for the door, late for the turn
    for path, body in (
        ("/v1/recommend", {"features": {"region": "region 1"}}),
        ("/v1/explain", POSTS["/v1/explain"]),
    ):
        refused(service.post(path, **body), 504, "deadline")
    monkeypatch.undo()
    full = Service(bundle.folder.parent, waiting=1)
    bodies = [{"features": {"region": f"region {number}"}} for number in range(9)]
    codes = [answer.status_code for answer in crowd_of(full, "/v1/recommend", bodies)]
    assert set(codes) == {200, 503}


class _Standing:
    """A clock that stands."""

    perf_counter = time.perf_counter

    @staticmethod
    def monotonic() -> float:
        return 1000.0


class _Earlier:
    """A clock that gives requests a deadline in the past."""

    perf_counter = time.perf_counter

    @staticmethod
    def monotonic() -> float:
        return time.monotonic() - 5


def test_a_bug_in_a_route_is_a_plain_500_with_an_id_hot_or_not(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("m0003")

    generation = service.live.generation
    monkeypatch.setattr(generation, "decide", wrong)
    monkeypatch.setattr(generation, "shelf", wrong)
    for answer in (
        service.client.post("/v1/recommend", json={"member": KNOWN}),
        service.client.get("/v1/shelf"),
    ):
        assert KNOWN not in refused(answer, 500, "internal_error")


def test_a_body_that_stops_arriving_is_refused(bundle: Bundle) -> None:
    service = Service(bundle.folder.parent, body_seconds=0.05)

    async def body() -> Any:
        yield b'{"member": '
        await asyncio.sleep(30)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(service.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post("/v1/recommend", content=body())

    answer = asyncio.run(ask())
    refused(answer, 408, "too_slow")
    assert answer.headers["connection"] == "close"


def test_every_post_waits_for_its_deadline_from_the_last_byte_of_its_body(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    read = limits.Front._routed

    async def noted(self: limits.Front, scope: Any, receive: Any, send: Any) -> None:
        seen.append(UNTIL in scope)
        await read(self, scope, receive, send)

    monkeypatch.setattr(limits.Front, "_routed", noted)
    for path in ("/v1/recommend", "/v1/recommend/batch", "/v1/similar", "/v1/explain"):
        service.post(path)
    assert seen == [True] * 4


async def _front(service: Service, path: str, **scope: Any) -> tuple[int, dict[str, str], bytes]:
    """Ask as our connections do, with keys of their own."""
    heard: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b'{"member": "m0003"}', "more_body": False}

    async def send(message: Any) -> None:
        await asyncio.sleep(0)
        heard.append(message)

    asked = {"type": "http", "method": "POST", "path": path, "headers": [], **scope}
    await service.app.middleware_stack(asked, receive, send)  # type: ignore[misc]  # made with the app
    headers = {name.decode().lower(): value.decode() for name, value in heard[0]["headers"]}
    return heard[0]["status"], headers, b"".join(one.get("body", b"") for one in heard)


def test_a_deadline_counts_from_the_last_byte_and_not_from_when_there_was_time_for_it(
    service: Service,
) -> None:
    long_ago = {limits.WHOLE: time.monotonic() - 1.5}
    status, _, body = asyncio.run(_front(service, "/v1/recommend", **long_ago))
    assert (status, msgspec.json.decode(body)["error"]) == (504, "deadline")
    now = {limits.WHOLE: time.monotonic()}
    assert asyncio.run(_front(service, "/v1/recommend", **now))[0] == 200


def test_who_is_one_too_many_is_told_so_in_the_one_form_of_errors(service: Service) -> None:
    crowded = {limits.CROWDED: True}
    status, headers, body = asyncio.run(_front(service, "/v1/recommend", **crowded))
    said = msgspec.json.decode(body)
    assert (status, said["error"], set(said)) == (
        503,
        "overloaded",
        {"error", "message", "request_id"},
    )
    assert (headers["retry-after"], headers["connection"]) == ("1", "close")
    assert asyncio.run(_front(service, "/readyz", method="GET", **crowded))[0] == 503
    assert asyncio.run(_front(service, "/livez", method="GET", **crowded))[0] == 200
    assert 'reason="overloaded"} 2.0' in service.client.get("/metrics").text
