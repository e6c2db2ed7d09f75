"""Off this machine nothing is answered without a key, and no key opens more than its scopes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from recsys.domain.errors import SettingError
from recsys.serve.bundle import Bundle
from recsys.serve.guard import FREE, NEEDS
from recsys.serve.keys import SCOPES, Scope, add, revoke
from recsys.serve.run import serve
from recsys.serve.spec import Serve
from tests.serve.asking import Service, refused

OUTSIDE = "10.0.0.1"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    add(path, "nobody", ["read"], days=1, at=LONG_AGO)
    return path


def guarded(bundle: Bundle, path: Path, **settings: Any) -> Service:
    """A service that other machines reach."""
    return Service(bundle.folder.parent, keys=path, host=OUTSIDE, **settings)


def key(path: Path, *scopes: Scope, name: str = "caller") -> dict[str, str]:
    """The header of a new key."""
    secret, _ = add(path, name, scopes, days=None, at=datetime.now(UTC))
    return {"Authorization": f"Bearer {secret}"}


def ask(service: Service, path: str, headers: dict[str, str]) -> httpx.Response:
    """Ask by the route's own method, with a body that is refused further in."""
    route = next(one for one in service.app.routes if isinstance(one, Route) and one.path == path)
    method = "POST" if "POST" in (route.methods or ()) else "GET"
    return service.client.request(method, path, headers=headers, content=b"{}")


def paths(service: Service) -> list[str]:
    return sorted({one.path for one in service.app.routes if isinstance(one, Route)})


def test_every_route_asks_for_its_scope(bundle: Bundle, path: Path) -> None:
    service = guarded(bundle, path)
    held = {scope: key(path, scope, name=scope) for scope in SCOPES}
    assert set(NEEDS) & set(paths(service)) >= {"/v1/recommend", "/v1/admin/reload"}
    for route in paths(service):
        if route in FREE:
            assert ask(service, route, {}).status_code == 200
            continue
        refused(ask(service, route, {}), 401, "no_key")
        for scope, header in held.items():
            answer = ask(service, route, header)
            if scope == NEEDS.get(route, "read"):
                assert answer.status_code not in {401, 403}, (route, scope)
            else:
                refused(answer, 403, "wrong_scope")


@pytest.mark.parametrize(
    "header",
    [
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer x"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": ""},
        {"Authorization": "Bearer " + "é" * 500},
    ],
)
def test_what_is_no_key_opens_nothing(bundle: Bundle, path: Path, header: dict[str, str]) -> None:
    service = guarded(bundle, path)
    plain = {name: value.encode("latin-1") for name, value in header.items()}
    answer = service.client.post("/v1/recommend", json={"member": "m1"}, headers=plain)
    refused(answer, 401, "no_key")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_an_unknown_route_asks_for_a_key_too(bundle: Bundle, path: Path) -> None:
    service = guarded(bundle, path)
    refused(service.client.get("/v1/secrets"), 401, "no_key")
    refused(service.client.get("/v1/secrets", headers=key(path, "read")), 404, "not_found")


def test_a_key_that_ended_opens_nothing(bundle: Bundle, path: Path) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=2)
    secret, _ = add(path, "old", SCOPES, days=1, at=long_ago)
    service = guarded(bundle, path)
    answer = service.client.get("/v1/shelf", headers={"Authorization": f"Bearer {secret}"})
    refused(answer, 401, "no_key")


def test_keys_are_changed_without_a_restart(bundle: Bundle, path: Path) -> None:
    service = guarded(bundle, path)
    old = key(path, "read")
    assert service.client.get("/v1/shelf", headers=old).status_code == 200
    new = key(path, "read")
    assert {service.client.get("/v1/shelf", headers=one).status_code for one in (old, new)} == {200}
    revoke(path, "caller")
    refused(service.client.get("/v1/shelf", headers=new), 401, "no_key")


def test_a_key_asks_no_more_than_its_rate(bundle: Bundle, path: Path) -> None:
    service = guarded(bundle, path, rate=0.01, burst=3)
    held = key(path, "recommend")
    for _ in range(3):
        answer = service.client.post("/v1/recommend", json={"member": "m1"}, headers=held)
        assert answer.status_code == 200
    answer = service.client.post("/v1/recommend", json={"member": "m1"}, headers=held)
    refused(answer, 429, "too_often")
    assert 1 <= int(answer.headers["retry-after"]) <= 100
    other = key(path, "recommend", name="other")
    answer = service.client.post("/v1/recommend", json={"member": "m1"}, headers=other)
    assert answer.status_code == 200


def test_a_batch_counts_its_members(bundle: Bundle, path: Path) -> None:
    service = guarded(bundle, path, rate=0.01, burst=3)
    held = key(path, "recommend")
    many = {"members": [f"m{number}" for number in range(10)]}
    assert service.client.post("/v1/recommend/batch", json=many, headers=held).status_code == 200
    answer = service.client.post("/v1/recommend", json={"member": "m1"}, headers=held)
    refused(answer, 429, "too_often")


def test_no_id_stands_in_an_address_that_others_see(bundle: Bundle, path: Path) -> None:
    service = guarded(bundle, path)
    answer = service.client.get("/v1/recommend?member=m1", headers=key(path, "recommend"))
    refused(answer, 405, "method_not_allowed")


def test_on_this_machine_keys_are_asked_for_where_they_are_named(
    bundle: Bundle, path: Path
) -> None:
    service = Service(bundle.folder.parent, keys=path)
    refused(service.client.get("/v1/shelf"), 401, "no_key")
    assert service.client.get("/livez").status_code == 200


def test_reload_only_looks_at_the_pointer(bundle: Bundle) -> None:
    service = Service(bundle.folder.parent)
    answer = service.client.post("/v1/admin/reload")
    assert (answer.status_code, answer.json()["generation"]) == (202, bundle.generation)


def test_without_its_file_of_keys_it_does_not_start(root: Path, tmp_path: Path) -> None:
    spec = Serve(bundles_dir=str(root), port=0, keys=str(tmp_path / "keys.json"))
    with pytest.raises(SettingError, match="cannot read the keys"):
        serve(spec)


@pytest.mark.parametrize(
    ("method", "path", "headers", "answer"),
    [
        ("GET", "/v1/shelf", {"Host": "shop.example"}, 403),
        ("GET", "/v1/shelf", {"Host": "127.0.0.1.evil.example:8000"}, 403),
        ("GET", "/v1/shelf", {"Host": "localhost:8000"}, 200),
        ("GET", "/v1/shelf", {"Host": "[::1]:8000"}, 200),
        ("GET", "/livez", {"Host": "shop.example"}, 200),
        ("POST", "/v1/admin/reload", {"Origin": "http://shop.example"}, 403),
        ("POST", "/v1/admin/reload", {"Origin": "null"}, 403),
        ("POST", "/v1/admin/reload", {}, 202),
    ],
)
def test_without_keys_no_page_of_another_site_is_answered(
    bundle: Bundle, method: str, path: str, headers: dict[str, str], answer: int
) -> None:
    service = Service(bundle.folder.parent)
    said = service.client.request(method, path, headers=headers)
    assert said.status_code == answer
    if answer == 403:
        refused(said, 403, "wrong_origin")


def test_with_a_key_a_page_may_ask(bundle: Bundle, path: Path) -> None:
    service = guarded(bundle, path)
    headers = key(path, "admin") | {"Origin": "http://shop.example", "Host": "shop.example"}
    assert service.client.post("/v1/admin/reload", headers=headers).status_code == 202
