"""Promise 7: what the document of the routes says is what they do, whatever is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.reliability.callers import Heard
from tests.reliability.conftest import Shown
from tests.reliability.figures import RELEASE, often
from tests.reliability.kept import BUNDLE
from tests.reliability.server import Server, running

if TYPE_CHECKING:
    from tests.reliability.described import Departure, Tried

pytestmark = pytest.mark.timeout(0 if RELEASE else 300)
EXAMPLES = often(40, 3_000)
"""Draws of each operation that takes anything."""
DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
CHECKS = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "unsupported_method",
    "allow_header_conformance",
}
"""Those that find something to compare in this document."""
UNSAID = (
    r"name a member, or tell history or features",
    r"name exactly one of sale, member, vector",
    r"members are like a member: name one, and neither sale nor vector",
    r"a vector has \d+ numbers, or the first \d+, each below 1e18",
    r"a message has events or outcomes",
    r"\w+\[\d+\]: an? \w+ is about a sale, and none is named",
    r"\w+\[\d+\]: at lies before the year 2000, or over a day ahead",
    r"at lies before the year 1, or beyond 9999, in UTC",
    r"\w+\[\d+\]: an id has at most 256 bytes and no control characters",
    # 4.0 is a whole number to JSON Schema, and a slip of the caller to us
    r"Expected `int( \| null)?`, got `float` - at `\$[\w.\[\]]+`",
)
"""Why something is refused that the document allows: no schema says bytes, clocks, what the bundle
holds, or which fields go together."""


@pytest.fixture(name="ask", scope="module")
def _ask() -> Callable[..., Tried]:
    # loaded here: no start of pytest that does not come to it pays for it
    tried: Callable[..., Tried] = import_module("tests.reliability.described").tried
    return tried


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    folder = tmp_path_factory.mktemp("described")
    BUNDLE.put(folder / "bundles", 1)
    with running(folder, folder / "bundles") as server:
        yield server


def unsaid(departure: Departure) -> bool:
    """Tell whether an answer departs from the document in one of the ways that are known."""
    return (
        departure.check == "positive_data_acceptance"
        and departure.status == 422
        and departure.said.keys() == {"error", "message", "request_id"}
        and any(re.fullmatch(why, departure.said["message"]) for why in UNSAID)
    )


def test_answers_are_what_the_document_says(
    server: Server, ask: Callable[..., Tried], shown: Shown
) -> None:
    served = httpx.get(f"http://127.0.0.1:{server.port}/openapi.json").json()
    assert served == json.loads(DOCUMENT.read_text(encoding="utf-8"))
    found = ask(DOCUMENT, server.port, examples=EXAMPLES)
    assert found.errors == []
    departures = [one for one in found.departures if not unsaid(one)]
    assert not departures, "\n".join(map(str, departures))
    assert [one for one in found.refusals if not one.stated] == []
    assert [line for line in server.log() if line["event"] == "bug"] == []
    assert found.checks.keys() >= CHECKS
    assert found.phases["coverage"] > 700
    assert found.phases["fuzzing"] > 6 * EXAMPLES - 1
    assert min(found.kinds[kind] for kind in ("positive", "negative")) > found.kinds.total() // 5
    assert found.codes[200] > found.codes.total() // 6
    codes = ", ".join(f"{code}: {n:,}" for code, n in sorted(found.codes.items()))
    shown(
        found.codes.total(),
        f"schemathesis: {found.phases['coverage']:,} to try each rule of the document, "
        f"{found.phases['fuzzing']:,} drawn; answers {codes}: all are what it says",
    )


def altered(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Return the document with a change."""
    said = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    change(said)
    file = folder / "openapi.json"
    file.write_text(json.dumps(said), encoding="utf-8")
    return file


def seen(found: Tried) -> set[tuple[str, str]]:
    return {(one.check, one.operation) for one in found.departures if not unsaid(one)}


def test_answers_that_depart_from_the_document_would_be_seen(
    tmp_path: Path, server: Server, ask: Callable[..., Tried]
) -> None:
    def change(said: dict[str, Any]) -> None:
        said["paths"] = {
            path: said["paths"][path] for path in ("/livez", "/v1/bundle", "/v1/recommend", "/docs")
        }
        alive = said["paths"]["/livez"]["get"]["responses"]["200"]
        alive["content"]["application/json"]["schema"]["properties"]["status"] = {"type": "null"}
        bundle = said["paths"]["/v1/bundle"]["get"]["responses"]
        bundle["202"] = bundle.pop("200")
        del bundle["default"]
        asked = said["components"]["schemas"]["Ask"]["properties"]
        asked["slots"] = {"type": "boolean"}
        said["paths"]["/docs"]["get"]["responses"]["200"]["content"] = {"text/csv": {}}

    def narrow(said: dict[str, Any]) -> None:
        said["paths"] = {"/v1/recommend": said["paths"]["/v1/recommend"]}
        said["components"]["schemas"]["Ask"]["properties"]["member"] = {"type": "integer"}

    found = ask(altered(tmp_path, change), server.port, examples=10)
    assert seen(found) >= {
        ("response_schema_conformance", "GET /livez"),
        ("status_code_conformance", "GET /v1/bundle"),
        ("positive_data_acceptance", "POST /v1/recommend"),
        ("content_type_conformance", "GET /docs"),
    }
    # apart: it asks no more of an operation that has departed once
    found = ask(altered(tmp_path, narrow), server.port, examples=10)
    assert ("negative_data_rejection", "POST /v1/recommend") in seen(found), seen(found)


def test_a_refusal_that_is_not_promised_would_be_seen() -> None:
    def said(status: int, error: str, **headers: str) -> Heard:
        return Heard("answered", 0, 1, status, headers, json.dumps({"error": error}).encode())

    assert said(503, "shelf_empty", **{"retry-after": "7"}).stated
    assert said(504, "deadline").stated
    assert not said(503, "shelf_empty").stated
    assert not said(500, "internal_error").stated
    assert not said(502, "deadline").stated
