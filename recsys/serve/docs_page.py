"""The routes as a page for people, made from the OpenAPI document: no script, nothing fetched."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from recsys.serve.openapi import document
from recsys.serve.page import Styled

KEY = "Authorization: Bearer $KEY"
"""Header that a caller adds where keys are asked for; the shell puts the key in."""


@dataclass(frozen=True)
class Row:
    """One field of what a route asks for or answers with."""

    name: str
    kind: str
    needed: bool
    meaning: str


@dataclass(frozen=True)
class Route:
    """One route: what it does, a line that asks it, its fields."""

    method: str
    path: str
    description: str
    curl: str
    asks: tuple[Row, ...]


@dataclass(frozen=True)
class Noun:
    """One kind of object in answers."""

    name: str
    rows: tuple[Row, ...]


class DocsPage:
    """Renders the page."""

    def __init__(self, *, keyed: bool) -> None:
        """Read the template; `keyed` = callers need a key."""
        self._styled = Styled("docs.html.j2")
        self._keyed = keyed
        self.headers = self._styled.headers

    def render(self, url: str) -> str:
        """Return the page as HTML; `url` is where the service listens."""
        said = document()
        schemas = said["components"]["schemas"]
        return self._styled.render(
            about=said["info"]["description"],
            routes=[
                Route(
                    method=method.upper(),
                    path=path,
                    description=route["description"],
                    curl=curl(url, (method, path), route, keyed=self._keyed),
                    asks=_asks(route, schemas),
                )
                for path, methods in said["paths"].items()
                for method, route in methods.items()
            ],
            nouns=[
                Noun(name, rows_of(schemas[name])) for name in _answered(said["paths"], schemas)
            ],
        )


def curl(url: str, where: tuple[str, str], route: Mapping[str, Any], *, keyed: bool) -> str:
    """Return a line of shell that asks a route (method, path) with its example."""
    method, path = where
    examples = {p["name"]: p["example"] for p in route.get("parameters", ()) if "example" in p}
    query = f"?{urlencode(examples)}" if examples else ""
    words = ["curl", "-s", shlex.quote(f"{url}{path}{query}")]
    if keyed and route["security"]:
        words += ["-H", f'"{KEY}"']
    if "requestBody" in route:
        example = route["requestBody"]["content"]["application/json"]["example"]
        words += ["-d", shlex.quote(json.dumps(example))]
    elif method == "post":
        words += ["-X", "POST"]
    return " ".join(words)


def rows_of(schema: Mapping[str, Any]) -> tuple[Row, ...]:
    """Return the fields of an object's schema."""
    needed = schema.get("required", ())
    return tuple(
        Row(name, kind_of(field), name in needed, field.get("description", ""))
        for name, field in schema.get("properties", {}).items()
    )


def kind_of(schema: Mapping[str, Any]) -> str:
    """Say in a few words what a field holds."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(kind_of(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(one) for one in schema["enum"] if one is not None)
    if schema.get("type") == "array":
        items = schema.get("items")
        return f"list of {kind_of(items)}" if items else "list"
    if schema.get("format") == "date-time":
        return "instant"
    words = {
        "number": "number",
        "integer": "whole number",
        "string": "text",
        "boolean": "yes or no",
    }
    word = words.get(str(schema.get("type")), str(schema.get("type", "anything")))
    if "minimum" in schema and "maximum" in schema:
        return f"{word}, {schema['minimum']:g} to {schema['maximum']:g}"
    return word


def _asks(route: Mapping[str, Any], schemas: Mapping[str, Any]) -> tuple[Row, ...]:
    if "requestBody" in route:
        return rows_of(
            schemas[kind_of(route["requestBody"]["content"]["application/json"]["schema"])]
        )
    return tuple(
        Row(p["name"], kind_of(p["schema"]), bool(p.get("required")), p["description"])
        for p in route.get("parameters", ())
    )


def _answered(paths: Mapping[str, Any], schemas: Mapping[str, Any]) -> list[str]:
    """Return the objects that no route asks for by themselves, in the order of their names."""
    asked = {
        kind_of(route["requestBody"]["content"]["application/json"]["schema"])
        for methods in paths.values()
        for route in methods.values()
        if "requestBody" in route
    }
    return sorted(set(schemas) - asked)
