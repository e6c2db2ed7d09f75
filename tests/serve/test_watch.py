"""The log is JSON lines, and neither it nor the metrics ever name a member, a sale or a key."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from recsys.domain.dataset import Dataset
from recsys.domain.errors import NoRoomError
from recsys.domain.journal import Journal
from recsys.serve.bundle import publish_bundle
from recsys.serve.keys import SCOPES, Keys
from recsys.serve.recommender import Recommender
from recsys.serve.run import heard
from recsys.serve.spec import Serve
from recsys.serve.watch import LOG, JsonLines, log_to_stderr, tell
from tests.serve.asking import Service
from tests.serve.conftest import parts_of
from tests.serve.started import send, started
from tests.serve.test_guard import key

MEMBER, SALE = "canary-member-7f3a", "canary-sale-91bc"
KNOWN, OPEN = "m0003", "s0070"
MOMENT = "2026-03-26T12:00:00Z"


@contextmanager
def logged() -> Generator[io.StringIO]:
    """All that any logger says, written as the service writes it; httpx is the asker's own."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(JsonLines())
    handler.addFilter(lambda record: not record.name.startswith(("httpx", "httpcore")))
    loggers = [logging.getLogger(), LOG]
    before = [(one.handlers, one.level, one.propagate) for one in loggers]
    for one in loggers:
        one.handlers, one.propagate = [handler], False
        one.setLevel(logging.DEBUG)
    try:
        yield text
    finally:
        for one, (handlers, level, propagate) in zip(loggers, before, strict=True):
            one.handlers, one.propagate = handlers, propagate
            one.setLevel(level)


def questions() -> list[tuple[str, str, Any]]:
    """Route, method, body: right ones and wrong ones, and the canaries in each."""
    event = {"member": MEMBER, "sale": SALE, "kind": "view", "at": MOMENT}
    outcome = {"send_id": SALE, "member_id": MEMBER, "slot": 0, "at": MOMENT}
    touch = {"kind": "view", "at": MOMENT, "sale": SALE}
    asks: list[tuple[str, Any]] = [
        ("/v1/recommend", {"member": MEMBER, "exclude": [SALE]}),
        ("/v1/recommend", {"member": MEMBER, "history": [touch], "features": {"region": MEMBER}}),
        ("/v1/recommend", {"member": MEMBER, "history": [touch | {"kind": MEMBER}]}),
        ("/v1/recommend", {"member": MEMBER, "features": {SALE: 1}}),
        ("/v1/recommend", {"member": MEMBER, MEMBER: SALE}),
        ("/v1/recommend", {"member": MEMBER, "channel": SALE}),
        ("/v1/recommend", {"member": MEMBER, "at": SALE}),
        ("/v1/recommend", {"member": MEMBER, "at": "2000-01-01T00:00:00Z"}),
        ("/v1/recommend/batch", {"members": [MEMBER, KNOWN], "exclude": [SALE]}),
        ("/v1/recommend/batch", {"members": [MEMBER] * 2000}),
        ("/v1/explain", {"member": MEMBER, "sale": SALE}),
        ("/v1/explain", {"member": KNOWN, "sale": SALE}),
        ("/v1/explain", {"member": KNOWN, "sale": OPEN}),
        ("/v1/similar", {"member": MEMBER}),
        ("/v1/similar", {"sale": SALE}),
        ("/v1/similar", {"of": "members", "member": MEMBER}),
        ("/v1/similar", {"of": "members", "member": KNOWN, "sale": SALE}),
        ("/v1/feedback", {"events": [event], "outcomes": [outcome]}),
        ("/v1/feedback", {"events": [event | {"kind": SALE}]}),
        ("/v1/feedback", {"events": [event | {"member": MEMBER + "\n"}]}),
        ("/v1/admin/reload", {"bundle": SALE}),
        (f"/v1/{MEMBER}", {"sale": SALE}),
        (f"/{SALE}?member={MEMBER}", None),
    ]
    found = [("POST", path, body) for path, body in asks]
    found += [("DELETE", path, None) for path, _ in asks]
    for path in ("/", "/docs", "/v1/recommend", "/v1/shelf", "/v1/bundle", "/openapi.json"):
        found.append(("GET", f"{path}?member={MEMBER}&sale={SALE}", None))
    return found


def ask_all(service: Service, headers: dict[str, str]) -> set[int]:
    """Ask everything, whole and cut short; return the codes."""
    codes = set()
    for method, path, body in questions():
        text = b"" if body is None else json.dumps(body).encode()
        for sent in {text, text[:-1]}:
            answer = service.client.request(method, path, content=sent, headers=headers)
            codes.add(answer.status_code)
    return codes


def test_canaries_are_in_no_line_and_no_metric_over_all_routes_and_all_errors(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "bundles"
    publish_bundle(parts_of(dataset), root)
    held, wrong = key(tmp_path / "keys.json", *SCOPES), "canary-key-55aa"
    secret = held["Authorization"].partition(" ")[2]
    with logged() as log:
        service = Service(
            root, keys=tmp_path / "keys.json", feedback=str(tmp_path / "told"), rate=0.0,
            max_body_bytes=20_000,
        )  # fmt: skip
        codes = ask_all(service, held)
        codes |= ask_all(service, {"Authorization": f"Bearer {wrong}"})
        weak = key(tmp_path / "keys.json", "read", name="weak")
        codes |= ask_all(service, weak)
        big = {"member": MEMBER, "exclude": [SALE] * 2000}
        codes.add(service.client.post("/v1/recommend", json=big, headers=held).status_code)
        monkeypatch.setattr(Journal, "_current", full)
        codes |= ask_all(service, held)
        broken = replace(service.live.generation.bundle, parts=parts_of(dataset))
        vars(broken.parts)["shop"] = None
        service.live.generation = Recommender(broken)
        codes |= ask_all(service, held)
        metrics = service.client.get("/metrics", headers=held).text
    assert codes >= {200, 202, 400, 401, 403, 404, 405, 413, 422, 500, 503}
    said = log.getvalue()
    events = {json.loads(line)["event"] for line in said.splitlines()}
    assert events >= {"bug", "feedback_not_stored"}
    for canary in (MEMBER, SALE, secret, wrong, weak["Authorization"].partition(" ")[2]):
        assert said.count(canary) == 0
        assert metrics.count(canary) == 0
    for known in (KNOWN, OPEN):
        assert known not in metrics
        assert known not in said
    paths = {route.path for route in service.app.routes if isinstance(route, Route)}
    labels = {
        line.split('route="')[1].split('"')[0] for line in metrics.splitlines() if 'route="' in line
    }
    assert labels <= paths | {"other"}
    asked = {path.partition("?")[0] for _, path, _ in questions()}
    assert paths - asked == {"/livez", "/readyz", "/metrics"}, "ask the new route too"


def full(*_: object) -> None:
    raise NoRoomError("cannot write events: no space")


def test_a_bundle_that_cannot_be_opened_is_told_without_an_id(
    dataset: Dataset, tmp_path: Path
) -> None:
    good = parts_of(dataset)
    publish_bundle(good, tmp_path)
    with logged() as log:
        service = Service(tmp_path)
        service.live._said = heard
        damaged = publish_bundle(parts_of(dataset, seed=2), tmp_path)
        (damaged / "members" / "ids.parquet").chmod(0o644)
        (damaged / "members" / "ids.parquet").write_bytes(b"m0003")
        assert not service.live.look()
    (line,) = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (line["event"], line["level"]) == ("reload_failed", "warning")
    assert "ids.parquet" in line["what"]
    assert KNOWN not in log.getvalue()


def test_keys_that_are_read_again_are_counted_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    first = key(path, "read")["Authorization"].partition(" ")[2]
    with logged() as log:
        keys = Keys(path, said=heard)
        second = key(path, "read", name="other")["Authorization"].partition(" ")[2]
        assert keys.who(second) is not None
        path.write_text(second, encoding="utf-8")
        assert keys.who(first) is not None
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["keys_read", "keys_not_read"]
    assert first not in log.getvalue()
    assert second not in log.getvalue()


@pytest.mark.parametrize("text", ["one\ntwo", "é 漢 \u2028", "\udcff", '"}', "\x00"])
def test_a_line_is_ascii_json_whatever_is_told(text: str) -> None:
    with logged() as log:
        tell("happened", what=text, seconds=1.5, nothing=None)
    (line,) = log.getvalue().splitlines()
    assert line.isascii()
    said = json.loads(line)
    assert (said["event"], said["level"]) == ("happened", "info")
    assert (said["what"], said["seconds"], said["nothing"]) == (text, 1.5, None)
    assert said["at"].endswith("+00:00")


def test_the_log_goes_to_stderr_and_what_the_server_warns_of_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = [logging.getLogger(name) for name in ("recsys.serve", "uvicorn", "uvicorn.error")]
    before = [(one.handlers, one.level, one.propagate) for one in named]
    try:
        log_to_stderr()
        for one in named[:2]:
            one.handlers[0].setStream(sys.stderr)  # type: ignore[attr-defined]  # a StreamHandler
        tell("listening", url="http://127.0.0.1:8000")
        named[2].warning("Invalid HTTP request received.")
        named[2].info("of no interest")
    finally:
        for one, (handlers, level, propagate) in zip(named, before, strict=True):
            one.handlers, one.propagate = handlers, propagate
            one.setLevel(level)
    said = capsys.readouterr()
    assert not said.out
    events = [json.loads(line)["event"] for line in said.err.splitlines()]
    assert events == ["listening", "Invalid HTTP request received."]


@pytest.mark.slow
def test_a_process_that_hears_nonsense_logs_none_of_it(root: Path, tmp_path: Path) -> None:
    nonsense = [
        f"GET /{MEMBER} HTTP/9.9\r\n\r\n",
        f"{MEMBER} / HTTP/1.1\r\n\r\n",
        f"POST /v1/recommend HTTP/1.1\r\nContent-Length: {MEMBER}\r\n\r\n",
        f"POST /v1/recommend HTTP/1.1\r\nHost: h\r\n{MEMBER}\r\n\r\n",
        f"GET /{MEMBER * 2000} HTTP/1.1\r\nHost: h\r\n\r\n",
        f"POST /v1/recommend HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\n\r\n{MEMBER}",
    ]
    spec = Serve(
        bundles_dir=str(root), port=0, feedback=str(tmp_path / "told"), body_seconds=0.3,
        drain_grace_seconds=0.0,
    )  # fmt: skip
    with started(spec) as service:
        with httpx.Client(base_url=service.url) as client:
            for method, path, body in questions():
                client.request(method, path, json=body)
        refusals = [send(service.url, one.encode()) for one in nonsense]
        code, log = service.stop()
    assert all(one.startswith(b"HTTP/1.1 4") for one in refusals)
    assert code == 0
    assert [line["event"] for line in log][-1] == "stopped"
    assert "canary" not in json.dumps(log)
