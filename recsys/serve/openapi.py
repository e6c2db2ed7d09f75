"""The routes as an OpenAPI document, made from the types that the routes themselves read."""

from __future__ import annotations

from typing import Any

import msgspec

from recsys.serve.answers import Answer, Ask, AskMany, AskSimilar, Near, OnOffer

REF = "#/components/schemas/{name}"
TYPES = (Ask, AskMany, AskSimilar, Answer, Near, OnOffer)


def document() -> dict[str, Any]:
    """Return the document as plain data."""
    _, schemas = msgspec.json.schema_components(TYPES, ref_template=REF)
    text = {"type": "string"}
    envelope = {"generation": text, "request_id": text, "at": text}
    schemas["Error"] = _object({"error": text, "message": text, "request_id": text})
    slate = {"allOf": [_object(envelope), _ref("Answer")]}
    slates = _object(envelope | {"slates": _list("Answer")})
    near, shelf = (_object(envelope | {"sales": _list(kind)}) for kind in ("Near", "OnOffer"))
    by_id = _route("The same by address, on this machine alone.", slate) | {
        "parameters": [
            {"name": "member", "in": "query", "required": True, "schema": text},
            {"name": "slots", "in": "query", "schema": {"type": "integer"}},
        ]
    }
    plain = {"type": "object"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "recsys", "version": "1"},
        "paths": {
            "/v1/recommend": {
                "post": _route("One slate for one member.", slate, asks="Ask"),
                "get": by_id,
            },
            "/v1/recommend/batch": {
                "post": _route("Slates for up to 1,024 members.", slates, asks="AskMany")
            },
            "/v1/similar": {
                "post": _route("Sales near a sale, member or vector.", near, asks="AskSimilar")
            },
            "/v1/shelf": {"get": _route("What is open now.", shelf)},
            "/v1/bundle": {"get": _route("What answers, without file hashes.", plain)},
            "/livez": {"get": _route("Whether the process answers.", plain)},
            "/readyz": {"get": _route("Whether to send requests here.", plain)},
            "/metrics": {"get": {"summary": "Prometheus text.", "responses": {"200": _said()}}},
        },
        "components": {"schemas": schemas},
    }


def _route(summary: str, answer: dict[str, Any], *, asks: str = "") -> dict[str, Any]:
    route: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": _said(answer),
            "default": _said(_ref("Error")),
        },
    }
    if asks:
        content = {"application/json": {"schema": _ref(asks)}}
        route["requestBody"] = {"required": True, "content": content}
    return route


def _said(schema: dict[str, Any] | None = None) -> dict[str, Any]:
    if schema is None:
        return {"description": "text", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {"description": "JSON", "content": {"application/json": {"schema": schema}}}


def _object(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields)}


def _list(kind: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(kind)}


def _ref(kind: str) -> dict[str, Any]:
    return {"$ref": REF.format(name=kind)}
