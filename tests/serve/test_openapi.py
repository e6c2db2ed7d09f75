"""The document is whole, is kept in docs/, and answers are what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recsys.serve import openapi
from recsys.serve.bundle import Bundle
from recsys.serve.guard import FREE, NEEDS
from tests.serve.asking import Service

KEPT = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
SAID = openapi.document()
ROUTES = [(path, method) for path, methods in SAID["paths"].items() for method in methods]
TYPES = {kind.__name__: kind for kind in openapi.TYPES}
IDS = {"m000042": "m0003", "m000043": "m0004", "s01195": "s0070"}
"""Ids of the examples -> those of the tests' bundle."""


def route(path: str, method: str) -> dict[str, Any]:
    said: dict[str, Any] = SAID["paths"][path][method]
    return said


def body_of(said: dict[str, Any]) -> dict[str, Any] | None:
    if "requestBody" not in said:
        return None
    example = json.dumps(said["requestBody"]["content"]["application/json"]["example"])
    for ours, theirs in IDS.items():
        example = example.replace(ours, theirs)
    made: dict[str, Any] = json.loads(example)
    return made


def refs(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for value in part.values():
            yield from refs(value)
    elif isinstance(part, list):
        for value in part:
            yield from refs(value)


def test_the_copy_in_docs_is_the_document() -> None:
    assert KEPT.read_text(encoding="utf-8") == openapi.written(), (
        "write it again: python -m recsys.serve.openapi > docs/openapi.json"
    )


def test_the_document_has_what_openapi_3_1_asks_for() -> None:
    assert re.fullmatch(r"3\.1\.\d", SAID["openapi"])
    assert {"title", "version"} <= set(SAID["info"])
    names = set(SAID["components"]["schemas"])
    assert {ref.rpartition("/")[2] for ref in refs(SAID)} <= names
    assert all(ref.startswith("#/components/schemas/") for ref in refs(SAID))
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names)
    operations = [route(*one)["operationId"] for one in ROUTES]
    assert len(set(operations)) == len(operations)


@pytest.mark.parametrize(("path", "method"), ROUTES)
def test_a_route_says_what_it_does_what_it_answers_and_who_may_ask(path: str, method: str) -> None:
    said = route(path, method)
    assert path.startswith("/")
    assert said["summary"].endswith(".")
    assert set(said["responses"]) == {"202" if path == "/v1/admin/reload" else "200", "default"}
    for answer in said["responses"].values():
        assert answer["description"]
        assert len(answer["content"]) == 1
    assert all(
        {"name", "in", "schema", "description"} <= set(one) for one in said.get("parameters", ())
    )
    assert (said["security"] == []) == (path in FREE)
    if path not in FREE:
        assert f"scope {NEEDS.get(path, 'read')}." in said["description"]
    assert ("requestBody" in said) == (method == "post" and path != "/v1/admin/reload")


def test_every_field_that_may_be_asked_for_has_its_meaning() -> None:
    for name in (*openapi.EXAMPLES, "Touch"):
        for field, schema in SAID["components"]["schemas"][name]["properties"].items():
            told = schema.get("description") or name == "Told"
            assert told, f"{name}.{field}: put a docstring below it"


@pytest.mark.parametrize("name", list(openapi.EXAMPLES))
def test_an_example_is_what_its_route_takes(name: str) -> None:
    msgspec.convert(openapi.EXAMPLES[name], TYPES[name])


@pytest.fixture(scope="module", name="service")
def _service(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Service:
    kept = tmp_path_factory.mktemp("told") / "feedback"
    return Service(bundle.folder.parent, feedback=str(kept))


@pytest.mark.parametrize(("path", "method"), ROUTES)
def test_an_answer_is_what_the_document_says(service: Service, path: str, method: str) -> None:
    said = route(path, method)
    query = {one["name"]: one["example"] for one in said.get("parameters", ()) if "example" in one}
    answer = service.client.request(method, path, params=query, json=body_of(said))
    (status,) = set(said["responses"]) - {"default"}
    assert answer.status_code == int(status), answer.text
    (kind,) = said["responses"][status]["content"]
    assert answer.headers["content-type"].startswith(kind)
    if kind == "application/json":
        fits(answer.json(), said["responses"][status]["content"][kind]["schema"])


@pytest.mark.parametrize("path", ["/v1/recommend", "/v1/nothing"])
def test_a_refusal_is_what_the_document_says(service: Service, path: str) -> None:
    answer = service.client.post(path, json={"slots": 0})
    assert answer.status_code >= 400
    fits(answer.json(), {"$ref": "#/components/schemas/Error"})
    assert set(answer.json()) == {"error", "message", "request_id"}


KNOWN = {
    "$ref", "allOf", "anyOf", "oneOf", "type", "properties", "required", "items", "enum",
    "title", "description", "default", "additionalProperties", "minimum", "maximum",
    "minLength", "maxLength", "minItems", "maxItems", "format",
}  # fmt: skip
KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,),
    "null": (type(None),), "integer": (int,), "number": (int, float),
}  # fmt: skip


def fits(value: Any, schema: dict[str, Any]) -> None:
    """Check a value by what we use of JSON Schema; a keyword that is not known here fails."""
    assert set(schema) <= KNOWN, schema
    if "$ref" in schema:
        fits(value, SAID["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    for one in schema.get("allOf", ()):
        fits(value, one)
    for some in schema.keys() & {"anyOf", "oneOf"}:
        assert sum(fitting(value, one) for one in schema[some]) == 1, (value, schema)
    if "type" in schema:
        assert isinstance(value, KINDS[schema["type"]]), (value, schema)
    assert "enum" not in schema or value in schema["enum"]
    for inner, of in inside(value, schema):
        fits(inner, of)


def inside(value: Any, schema: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    """What stands in a value, each with its schema."""
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= set(value), schema
        known = schema.get("properties", {})
        return [(value[name], known[name]) for name in known.keys() & value.keys()]
    if isinstance(value, list) and "items" in schema:
        return [(one, schema["items"]) for one in value]
    return []


def fitting(value: Any, schema: dict[str, Any]) -> bool:
    """Whether it does."""
    try:
        fits(value, schema)
    except AssertionError:
        return False
    return True


def test_the_checker_sees_what_is_wrong() -> None:
    answer = {"$ref": "#/components/schemas/Alike"}
    assert fitting({"member": "m1", "score": 0.5}, answer)
    wrong: list[Any] = [{"member": "m1"}, {"member": 1, "score": 0.5}, [], "m1", None]
    assert not any(fitting(one, answer) for one in wrong)
