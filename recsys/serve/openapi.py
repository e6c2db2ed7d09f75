"""The routes as an OpenAPI document, made from the types that the routes themselves read.

`python -m recsys.serve.openapi > docs/openapi.json` writes the copy for those who have no service.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from textwrap import dedent
from typing import Any

import msgspec

from recsys.serve import answers, asks, explaining, feedback
from recsys.serve.answers import Alike, Answer, Near, OnOffer
from recsys.serve.asks import Ask, AskMany, AskSimilar, AskWhy
from recsys.serve.explaining import Why
from recsys.serve.feedback import Stored, Told
from recsys.serve.guard import FREE, NEEDS

REF = "#/components/schemas/{name}"
TYPES = (Ask, AskMany, AskSimilar, AskWhy, Answer, Why, Near, Alike, OnOffer, Told, Stored)
TEXT: dict[str, Any] = {"type": "string"}
PLAIN: dict[str, Any] = {"type": "object"}
FROM = {"request_id": TEXT, "generation": TEXT}
"""Where an answer is from."""
AS_OF = FROM | {"at": TEXT}
MADE = AS_OF | {"channel": TEXT}
EXAMPLES: dict[str, dict[str, Any]] = {
    "Ask": {"member": "m000042", "slots": 3},
    "AskMany": {"members": ["m000042", "m000043"], "slots": 3, "channel": "mail"},
    "AskWhy": {"member": "m000042", "sale": "s01195"},
    "AskSimilar": {"sale": "s01195", "k": 5, "scope": "archive"},
    "Told": {
        "events": [
            {
                "member": "m000042",
                "sale": "s01195",
                "kind": "purchase",
                "at": "2026-04-01T12:07:00+02:00",
                "value": 26.9,
            }
        ]
    },
}
"""What is asked -> a body that says it."""


def document() -> dict[str, Any]:
    """Return the document as plain data."""
    _, schemas = msgspec.json.schema_components(TYPES, ref_template=REF)
    for name, schema in schemas.items():
        _explain(schema, _struct(name))
    schemas["Error"] = _object({"error": TEXT, "message": TEXT, "request_id": TEXT})
    paths = _slates() | _others() | _about() | _pages()
    for path, methods in paths.items():
        scope = None if path in FREE else NEEDS.get(path, "read")
        for method, route in methods.items():
            words = [method, *path.replace(".", "/").split("/")]
            route["operationId"] = "_".join(word for word in words if word)
            route["security"] = [] if scope is None else [{"key": []}, {}]
            opens = "" if scope is None else f" Where keys are asked for: one of scope {scope}."
            route["description"] = f"{route['summary']}{opens}"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "recsys",
            "version": "1",
            "description": "Slates with reasons, from one bundle at a time. Every JSON answer says "
            "which (generation); every refusal has one form (Error). More: docs/serving.md.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def written() -> str:
    """Return the document as it is kept in docs/openapi.json."""
    return f"{json.dumps(document(), indent=1, ensure_ascii=False)}\n"


def _struct(name: str) -> type:
    """Return the class that a schema was made of."""
    found: type = next(
        getattr(module, name)
        for module in (asks, answers, explaining, feedback)
        if name in vars(module)
    )
    return found


def _explain(schema: dict[str, Any], struct: type) -> None:
    """Put into a schema what the class says of each field below it."""
    body = ast.parse(dedent(inspect.getsource(struct))).body[0]
    if not isinstance(body, ast.ClassDef):
        return
    for field, note in zip(body.body, body.body[1:], strict=False):
        match field, note:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                schema["properties"][name]["description"] = " ".join(text.replace("`", "").split())


def _slates() -> dict[str, Any]:
    slate = {"allOf": [_object(MADE), _ref("Answer")]}
    member = {"name": "member", "in": "query", "required": True, "description": "Id."}
    by_id = _route("The same by address, on this machine alone.", slate) | {
        "parameters": [
            member | {"schema": TEXT | {"minLength": 1, "maxLength": 256}, "example": "m000042"},
            {
                "name": "slots",
                "in": "query",
                "description": "Places on the slate; as the service is set where it is left out.",
                "schema": {"type": "integer", "minimum": 1, "maximum": 1000},
            },
        ]
    }
    return {
        "/v1/recommend": {
            "post": _route("One slate, for a member known or described.", slate, asks="Ask"),
            "get": by_id,
        },
        "/v1/recommend/batch": {
            "post": _route(
                "Slates for up to 1,024 members.",
                _object(MADE | {"slates": _list("Answer")}),
                asks="AskMany",
            )
        },
        "/v1/explain": {
            "post": _route(
                "What a sale is worth to a member, and why.",
                {
                    "allOf": [
                        _object(AS_OF | {"policy": TEXT, "member": TEXT, "sale": TEXT}),
                        _ref("Why"),
                    ]
                },
                asks="AskWhy",
            )
        },
    }


def _others() -> dict[str, Any]:
    found = [
        _object(AS_OF | {"sales": _list("Near")}),
        _object(AS_OF | {"members": _list("Alike")}),
    ]
    return {
        "/v1/similar": {
            "post": _route(
                "Sales near a sale, member or vector; members like a member.",
                {"oneOf": found},
                asks="AskSimilar",
            )
        },
        "/v1/feedback": {
            "post": _route(
                "What members did; on the disk before it is answered.",
                {"allOf": [_object(FROM), _ref("Stored")]},
                asks="Told",
            )
        },
        "/v1/shelf": {
            "get": _route("What is open now.", _object(AS_OF | {"sales": _list("OnOffer")}))
        },
        "/v1/bundle": {
            "get": _route(
                "What answers, without file hashes.",
                _object(FROM | {"bundle": PLAIN, "specs": PLAIN}),
            )
        },
        "/v1/admin/reload": {
            "post": _route(
                "Look for a new bundle at once.", _object(FROM | {"status": TEXT}), status="202"
            )
        },
    }


def _about() -> dict[str, Any]:
    alive = _object({"request_id": TEXT, "status": TEXT})
    ready = _object(FROM | {"status": TEXT, "stale": {"type": "boolean"}})
    metrics = {"summary": "Prometheus text.", "responses": {"200": _said(), **_refused()}}
    return {
        "/livez": {"get": _route("Whether the process answers.", alive)},
        "/readyz": {"get": _route("Whether to send requests here.", ready)},
        "/metrics": {"get": metrics},
    }


def _pages() -> dict[str, Any]:
    page = {"description": "HTML", "content": {"text/html": {"schema": TEXT}}}

    def read(summary: str, answer: dict[str, Any]) -> dict[str, Any]:
        return {"get": {"summary": summary, "responses": {"200": answer, **_refused()}}}

    return {
        "/openapi.json": read("This document.", _said(PLAIN)),
        "/docs": read("This document as a page, on this machine alone.", page),
        "/": read("The page for people: one member's slate and why, who sees what, health.", page),
    }


def _route(
    summary: str, answer: dict[str, Any], *, asks: str = "", status: str = "200"
) -> dict[str, Any]:
    route: dict[str, Any] = {
        "summary": summary,
        "responses": {status: _said(answer), **_refused()},
    }
    if asks:
        content = {"application/json": {"schema": _ref(asks), "example": EXAMPLES[asks]}}
        route["requestBody"] = {"required": True, "content": content}
    return route


def _refused() -> dict[str, Any]:
    return {"default": _said(_ref("Error"))}


def _said(schema: dict[str, Any] | None = None) -> dict[str, Any]:
    if schema is None:
        return {"description": "text", "content": {"text/plain": {"schema": TEXT}}}
    return {"description": "JSON", "content": {"application/json": {"schema": schema}}}


def _object(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields)}


def _list(kind: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(kind)}


def _ref(kind: str) -> dict[str, Any]:
    return {"$ref": REF.format(name=kind)}


if __name__ == "__main__":
    sys.stdout.write(written())
