from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Route

from recsys.domain.artefact import open_artefact
from recsys.domain.dataset import Dataset
from recsys.rerank.dpp import Dpp
from recsys.rerank.spec import Blend
from recsys.serve.bundle import Bundle, publish_bundle
from recsys.serve.openapi import document
from recsys.serve.parts import BundleParts
from recsys.serve.recommender import Recommender
from recsys.serve.watch import JsonLines
from tests.builders import tiny_dataset
from tests.serve.asking import Service, refused
from tests.serve.conftest import parts_of

KNOWN = "m0003"


@pytest.fixture(scope="module", name="service")
def _service(bundle: Bundle) -> Service:
    return Service(bundle.folder.parent)


def test_a_slate_says_who_answered_and_why(service: Service, bundle: Bundle) -> None:
    answer = service.post("/v1/recommend", member=KNOWN, slots=3)
    said = answer.json()
    assert answer.status_code == 200
    assert set(said) == {
        "arm", "at", "because", "channel", "fallback", "foretells", "generation", "heard", "member",
        "policy", "request_id", "sales", "short",
    }  # fmt: skip
    assert said["generation"] == bundle.generation
    assert said["fallback"] == "personalised"
    assert len(said["sales"]) == 3
    first = said["sales"][0]
    assert first["taste"] + first["new"] + first["curated"] == first["gain"]
    assert first["because"]
    assert said["foretells"] == bundle.parts.ranker.label
    by_address = service.client.get("/v1/recommend", params={"member": KNOWN, "slots": 3}).json()
    assert by_address["sales"] == said["sales"]
    assert len(service.post("/v1/recommend", member=KNOWN).json()["sales"]) == 6


def test_a_slate_longer_than_its_re_ranker_can_fill_is_refused_not_broken(tmp_path: Path) -> None:
    """dpp fills as many slots as the vectors have dimensions, here 8."""
    parts = parts_of(tiny_dataset(members=40, days=6, sales_a_day=20))
    spec = Blend(diversity=Dpp(), max_per_brand=0)
    spread = replace(parts, ranker=replace(parts.ranker, spec=spec))
    publish_bundle(spread, tmp_path)
    service = Service(tmp_path)
    assert service.post("/v1/recommend", member=KNOWN, slots=6).status_code == 200
    for answer in (
        service.post("/v1/recommend", member=KNOWN, slots=20),
        service.post("/v1/recommend/batch", members=[KNOWN], slots=20),
    ):
        assert answer.status_code == 422
        assert "dpp fills at most 8 slots" in answer.json()["message"]


def test_a_batch_answers_in_order_from_one_generation(service: Service, bundle: Bundle) -> None:
    members = [*bundle.parts.members.ids.tolist(), "nobody"] * 3
    said = service.post("/v1/recommend/batch", members=members, slots=4).json()
    assert [slate["member"] for slate in said["slates"]] == members
    assert said["slates"][-1]["fallback"] != "personalised"
    alone = service.post("/v1/recommend", member=KNOWN, slots=4).json()["sales"]
    of_batch = said["slates"][members.index(KNOWN)]["sales"]
    assert [s["sale"] for s in of_batch] == [s["sale"] for s in alone]


def test_an_unknown_member_is_answered_never_refused(service: Service) -> None:
    answer = service.post("/v1/recommend", member="nobody\u2603")
    assert answer.status_code == 200
    assert answer.json()["fallback"] in {"curated", "newest"}


def test_similar_shelf_and_bundle_answer(service: Service, bundle: Bundle) -> None:
    near = service.post("/v1/similar", sale="s0001", k=5, scope="archive").json()
    assert len(near["sales"]) == 5
    assert "s0001" not in {sale["sale"] for sale in near["sales"]}
    shelf = service.client.get("/v1/shelf").json()
    assert len(shelf["sales"]) == len(bundle.parts.shelves.at(bundle.parts.decided_at))
    said = service.client.get("/v1/bundle").json()
    assert said["bundle"]["fingerprint"] == said["generation"] == bundle.generation
    assert "files" not in said["bundle"]
    refused(service.post("/v1/similar", sale="nothing"), 404, "unknown_sale")
    refused(service.post("/v1/similar", member="nobody"), 404, "unknown_member")
    assert "exactly one" in refused(service.post("/v1/similar", k=3), 422, "invalid")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/recommend", {"member": KNOWN, "slotz": 3}),
        ("/v1/recommend", {"member": KNOWN, "slots": 0}),
        ("/v1/recommend", {"member": KNOWN, "slots": 1001}),
        ("/v1/recommend", {"member": ""}),
        ("/v1/recommend", {"member": 7}),
        ("/v1/recommend", {"member": "m" * 257}),
        ("/v1/recommend", {}),
        ("/v1/recommend/batch", {"members": []}),
        ("/v1/recommend/batch", {"members": ["m"] * 1025}),
        ("/v1/similar", {"sale": "s0001", "scope": "everything"}),
        ("/v1/similar", {"vector": [1.0, 2.0]}),
        ("/v1/similar", {"vector": [1e300] * 9}),
        ("/v1/similar", {"sale": "s0001", "exclude": ["s"] * 10_001}),
    ],
)
def test_what_is_not_asked_for_rightly_is_refused(
    service: Service, path: str, body: dict[str, Any]
) -> None:
    refused(service.post(path, **body), 422, "invalid")


@pytest.mark.parametrize("query", ["", "member=", f"member={KNOWN}&slots=x", "member=a&slots=0"])
def test_an_address_that_asks_wrongly_is_refused(service: Service, query: str) -> None:
    refused(service.client.get(f"/v1/recommend?{query}"), 422, "invalid")


@given(st.binary(max_size=200))
def test_no_body_brings_the_service_down(service: Service, body: bytes) -> None:
    for path in ("/v1/recommend", "/v1/recommend/batch", "/v1/similar"):
        answer = service.client.post(path, content=body)
        assert answer.status_code in {400, 422}
        assert answer.json()["request_id"]


def test_bodies_have_a_bound_with_and_without_an_announced_length(service: Service) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 65_536
            await asyncio.sleep(0)

    large = b'{"member": "' + b"m" * (1 << 20) + b'"}'
    refused(service.client.post("/v1/recommend", content=large), 413, "body_too_large")
    refused(service.client.post("/v1/recommend", content=chunks()), 413, "body_too_large")
    deep = b"[" * 100_000
    refused(service.client.post("/v1/recommend", content=deep), 422, "invalid")


def test_other_paths_and_methods_are_told_in_the_same_form(service: Service) -> None:
    refused(service.client.get("/v1/nothing"), 404, "not_found")
    refused(service.client.request("DELETE", "/v1/recommend"), 405, "method_not_allowed")
    refused(service.client.get("/../../etc/passwd"), 404, "not_found")


def test_an_empty_shelf_is_503_with_the_time_of_the_next_opening(bundle: Bundle) -> None:
    opens = int(bundle.parts.shop.opens_at.min())
    service = Service(bundle.folder.parent, clock=opens - 90_500_000)
    for answer in (
        service.post("/v1/recommend", member=KNOWN),
        service.post("/v1/recommend/batch", members=[KNOWN]),
    ):
        refused(answer, 503, "shelf_empty")
        assert answer.headers["retry-after"] == "91"
    assert service.client.get("/v1/shelf").json()["sales"] == []
    assert service.client.get("/").status_code == 200


def test_ready_until_it_drains(bundle: Bundle) -> None:
    service = Service(bundle.folder.parent)
    assert service.client.get("/readyz").json()["stale"] is False
    service.live.draining = True
    refused(service.client.get("/readyz"), 503, "draining")
    assert service.client.get("/livez").status_code == 200
    assert service.post("/v1/recommend", member=KNOWN).status_code == 200


def test_a_new_bundle_answers_and_a_damaged_one_is_counted(root: Path, dataset: Dataset) -> None:
    service = Service(root)
    new = publish_bundle(parts_of(dataset, seed=2), root)
    service.live.look()
    assert service.client.get("/readyz").json()["generation"] == new.name
    bad = publish_bundle(parts_of(dataset, seed=3), root)
    (bad / "index.faiss").unlink()
    service.live.look()
    assert "index.faiss is missing" in service.told[-1]
    assert service.post("/v1/recommend", member=KNOWN).json()["generation"] == new.name
    metrics = service.client.get("/metrics").text
    assert 'recsys_reload_failures_total{reason="BrokenArtefactError"} 1.0' in metrics
    open_artefact(new, "bundle")


def test_metrics_count_routes_codes_and_rungs_and_name_no_member(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    canary = "canary-7f3a"
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            service.post("/v1/recommend", member=canary)
        service.client.get("/v1/recommend", params={"member": canary})
        service.post("/v1/recommend", member=canary, canary=1)
        service.client.get(f"/v1/{canary}")
    text = service.client.get("/metrics").text
    assert 'recsys_requests_total{code="404",route="other"}' in text
    assert re.search(r'recsys_rejected_total\{reason="invalid"\} \d', text)
    assert re.search(r"recsys_unknown_member_total [4-9]", text)
    assert f'generation="{service.live.generation.generation}"' in text
    assert "recsys_request_seconds_bucket" in text
    assert canary not in text
    ours = [r for r in caplog.records if not r.name.startswith("httpx")]  # the asker's own log
    assert canary not in "\n".join(JsonLines().format(record) for record in ours)


def test_a_bug_is_a_plain_500_and_the_log_tells_the_place_alone(
    parts: BundleParts, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(root)
    live = service.live.generation
    broken = replace(live.bundle, parts=replace(parts, info=parts.info))
    vars(broken.parts)["shop"] = None
    service.live.generation = Recommender(broken)
    with caplog.at_level(logging.ERROR, logger="recsys.serve"):
        message = refused(service.post("/v1/recommend", member="secret"), 500, "internal_error")
    told = "\n".join(JsonLines().format(record) for record in caplog.records)
    assert "AttributeError" in told
    assert ".py:" in told
    assert "secret" not in told + message


def test_every_documented_route_is_there_and_every_route_documented(service: Service) -> None:
    said = service.client.get("/openapi.json").json()
    assert said == json.loads(json.dumps(document()))
    for path, methods in said["paths"].items():
        for method in methods:
            assert service.client.request(method, path).status_code != 404
            assert service.client.request(method, path).status_code != 405
    served = {route.path for route in service.app.routes if isinstance(route, Route)}
    assert served == set(said["paths"])
