"""Promise 9: where keys are asked for, nothing but livez and readyz answers without one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.routing import Route

from recsys.serve.guard import FREE, NEEDS
from recsys.serve.keys import SCOPES, Scope, add, revoke
from tests.reliability.callers import Caller, Heard, post, wire
from tests.reliability.conftest import Shown
from tests.reliability.kept import BUNDLE
from tests.reliability.server import running
from tests.runs.starting import begin, ended
from tests.serve.asking import Service

SCRIPT = str(Path(__file__).resolve().parents[2] / "serve_index.py")
STRANGE = ("/v1/nothing", "/v1/recommend/", "//", "/%6civez/", "/LIVEZ", "/readyz/..")
"""Paths that are no routes, some of which look like one that is free."""


def header(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def asked(port: int, method: str, path: str, headers: Mapping[str, str]) -> Heard:
    """Ask on a connection of its own, with a body that is refused further in."""

    async def ask() -> Heard:
        caller = Caller(port)
        body = b"{}" if method == "POST" else b""
        heard = await caller.ask(wire(method, path, body, **headers))
        await caller.close()
        return heard

    return asyncio.run(ask())


def kinds(path: Path) -> tuple[dict[str, dict[str, str]], dict[Scope, dict[str, str]]]:
    """Make keys; return headers that open nothing, and for each scope one that opens it."""
    now = datetime.now(UTC)
    secrets = {scope: add(path, scope, [scope], days=None, at=now)[0] for scope in SCOPES}
    over, _ = add(path, "over", SCOPES, days=1, at=now - timedelta(days=2))
    gone, _ = add(path, "gone", SCOPES, days=None, at=now)
    revoke(path, "gone")
    right = secrets["admin"]
    wrong = {
        "none": {},
        "empty": header(""),
        "over": header(over),
        "revoked": header(gone),
        "one letter off": header(right[:-1] + ("A" if right[-1] != "A" else "B")),
        "half of one": header(right[:20]),
        "more than one": header(f"{right} {right}"),
        "another way": {"Authorization": f"Basic {right}"},
        "in another place": {"X-Api-Key": right, "Cookie": f"key={right}"},
        "a hash": header(path.read_text().split('"sha256": "')[1][:64]),
    }
    return wrong, {scope: header(secret) for scope, secret in secrets.items()}


def test_every_route_asks_for_a_key_of_its_scope(tmp_path: Path, shown: Shown) -> None:
    root, path = tmp_path / "bundles", tmp_path / "keys.json"
    BUNDLE.put(root, 1)
    wrong, held = kinds(path)
    routes = [one for one in Service(root).app.routes if isinstance(one, Route)]
    ways = [(m, one.path) for one in routes for m in sorted(one.methods or ())]
    ways += [("GET", path) for path in STRANGE] + [("DELETE", "/v1/recommend"), ("PUT", "/")]
    tried = 0
    with running(tmp_path, root, keys=str(path), rate=0) as server:
        for method, route in ways:
            if route in FREE:
                assert asked(server.port, method, route, {}).status in {200, 405}
                continue
            for kind, headers in wrong.items():
                heard = asked(server.port, method, route, headers)
                assert heard.status == 401, (method, route, kind, heard.status)
                assert heard.headers["www-authenticate"] == "Bearer"
                tried += 1
            for scope, headers in held.items():
                code = asked(server.port, method, route, headers).status
                opens = scope == NEEDS.get(route, "read")
                assert (code not in {401, 403}) == opens, (method, route, scope, code)
                tried += 1
    assert {path for _, path in ways} >= {*FREE, *NEEDS, "/", "/metrics", "/openapi.json"}
    kinds_of_keys = len(wrong) + len(held)
    shown(tried, f"{len(ways)} ways in by {kinds_of_keys} kinds of keys: only the right one opens")


def test_keys_change_without_a_restart(tmp_path: Path, shown: Shown) -> None:
    root, path = tmp_path / "bundles", tmp_path / "keys.json"
    BUNDLE.put(root, 1)
    now = datetime.now(UTC)
    old, _ = add(path, "mailer", ["recommend"], days=None, at=now)
    with running(tmp_path, root, keys=str(path)) as server:

        def opens(secret: str) -> bool:
            async def ask() -> Heard:
                caller = Caller(server.port)
                asked = {"member": "m0003"}
                heard = await caller.ask(post("/v1/recommend", asked, **header(secret)))
                await caller.close()
                return heard

            heard = asyncio.run(ask())
            assert heard.status in {200, 401}
            return heard.status == 200

        assert opens(old)
        new, _ = add(path, "mailer", ["recommend"], days=None, at=now)
        assert opens(old)
        assert opens(new)
        newest, _ = add(path, "mailer", ["recommend"], days=None, at=now)
        assert not opens(old)
        assert opens(new)
        assert opens(newest)
        path.chmod(0o644)  # others can read it: what was read before stands
        assert opens(newest)
        path.chmod(0o600)
        revoke(path, "mailer")
        assert not opens(new)
        assert not opens(newest)
    shown(3, "three keys in turn, two at once, none after they were revoked; no restart")


EVERYWHERE = ("0.0.0.0", "10.0.0.1", "::")  # ruff: ignore[hardcoded-bind-all-interfaces]  # refused


@pytest.mark.parametrize("host", EVERYWHERE)
def test_other_machines_are_not_let_in_without_a_file_of_keys(
    tmp_path: Path, host: str, shown: Shown
) -> None:
    BUNDLE.put(tmp_path / "bundles", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [f"serve.host='{host}'", f"serve.port={port}", f"serve.bundles_dir={tmp_path}/bundles"]
    for more in ([], [f"serve.keys={tmp_path}/none.json"]):
        gone = ended(begin(tmp_path, SCRIPT, *words, *more))
        assert gone.returncode == 2, gone.stderr
        assert "recsys key name=mailer" in gone.stderr
        assert "http" not in gone.stdout
    shown(2, f"refused to start on {host}, exit code 2")
