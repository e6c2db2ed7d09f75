from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from recsys.serve import limits, turns
from recsys.serve.bundle import Bundle
from recsys.serve.limits import UNTIL
from tests.serve.asking import Service, refused

KNOWN = "m0003"


@pytest.fixture(name="service")
def _service(bundle: Bundle) -> Service:
    return Service(bundle.folder.parent)


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
