"""Requests drawn from the description of the routes: valid, nearly valid, and garbage."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from recsys.serve.openapi import document

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND")
KNOWN = ("m0003", "m0011", "s0001", "s0040", "brand 1", "nobody")
"""Ids that the bundle holds, for the most part."""
INSTANTS = (
    "2026-03-30T12:00:00Z",
    "2026-04-01T09:30:00.5+02:00",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999-14:00",
    "1969-12-31T23:59:59Z",
    "2026-02-30T12:00:00Z",
    "2026-03-30T12:00:00",
)
HOSTILE: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**63, -(2**63) - 1, 10**40, 1e308, -1e308, 5e-324, 0.1,
    "", " ", "\x00", "\ud800", "\u2028", "m" * 257, "'; drop table members; --", "../../etc/passwd",
    "<script>alert(1)</script>", "=1+1", "NaN", "null", *INSTANTS,
    [], {}, [None], [[[[]]]], {"": ""}, {"$ref": "#"}, ["m0003"] * 2_000,
)  # fmt: skip
GARBAGE = (
    b"", b"\x00", b"{", b"[", b'"', b"nul", b"NaN", b"-Infinity", b"{}{}", b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}", b'{"member": "\xff"}', b'{"member": "m1", "member": "m2"}', b"[" * 60_000,
    b'{"a":' * 9_000, b"1" * 5_000, b'{"slots": 1e999}', b'{"slots": 4.0}', b"a=b&c=d", b"\r\n\r\n",
)  # fmt: skip
STRANGE = (
    "/", "//", "/v1", "/v1/", "/v1/recommend/", "/V1/recommend", "/v1/recommend/../admin/reload",
    "/v1/%72ecommend", "/%00", "/%ff%fe", "/%", "/v1/recommend%2fbatch", "/..%2f..%2fetc/passwd",
    "/static/../keys.json", "/openapi.json", "/docs", "/metrics/", "/v1/recommend;a=b",
    "/" + "a" * 5_000, "/favicon.ico", "/v1/\u00e9",
)  # fmt: skip
Kind = Literal["valid", "nearly valid", "garbage"]
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Drawn:
    """One request."""

    kind: Kind
    method: str
    path: str
    """With its query."""
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Route:
    """What the description says of one method of one path."""

    method: str
    path: str
    body: SearchStrategy[Any] | None
    query: Mapping[str, SearchStrategy[Any]]


def routes() -> list[Route]:
    """Return all that is described."""
    said = document()
    schemas = said["components"]["schemas"]
    found = []
    for path, methods in said["paths"].items():
        for method, about in methods.items():
            content = about.get("requestBody", {}).get("content", {}).get("application/json")
            body = None if content is None else values(content["schema"], schemas)
            query = {
                one["name"]: values(one["schema"], schemas)
                for one in about.get("parameters", ())
                if one["in"] == "query"
            }
            found.append(Route(method.upper(), path, body, query))
    return found


def values(schema: Schema, schemas: Mapping[str, Schema]) -> SearchStrategy[Any]:
    """Return what a schema allows.

    Raises:
        KeyError: it says something that is not read here.
    """
    if "$ref" in schema:
        return st.deferred(lambda: values(schemas[schema["$ref"].rpartition("/")[2]], schemas))
    if "anyOf" in schema:
        return st.one_of([values(one, schemas) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        return _objects(schema, schemas)
    if kind == "array":
        few = {"min_size": schema.get("minItems", 0), "max_size": min(schema.get("maxItems", 4), 4)}
        return st.lists(values(schema["items"], schemas), **few)
    return PLAIN[kind](schema)


def _texts(schema: Schema) -> SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return st.sampled_from(INSTANTS[:2])
    most = min(schema.get("maxLength", 20), 20)
    return st.sampled_from(KNOWN) | st.text(min_size=schema.get("minLength", 0), max_size=most)


def _wholes(schema: Schema) -> SearchStrategy[int]:
    return st.integers(schema.get("minimum", -(2**63)), schema.get("maximum", 2**63 - 1))


def _numbers(schema: Schema) -> SearchStrategy[float]:
    bounds = schema.get("minimum"), schema.get("maximum")
    return st.floats(*bounds, allow_nan=False, allow_infinity=False)


PLAIN: Mapping[str | None, Callable[[Schema], SearchStrategy[Any]]] = {
    "string": _texts,
    "integer": _wholes,
    "number": _numbers,
    "boolean": lambda _: st.booleans(),
    "null": lambda _: st.none(),
    None: lambda _: st.sampled_from(HOSTILE),
}
"""Type -> its values; None = anything."""


def _objects(schema: Schema, schemas: Mapping[str, Schema]) -> SearchStrategy[Any]:
    fields = {name: values(one, schemas) for name, one in schema.get("properties", {}).items()}
    if not fields:
        return st.dictionaries(
            st.sampled_from(("region", "likes", "age")), st.sampled_from(HOSTILE), max_size=2
        )
    needed = {name: fields[name] for name in schema.get("required", ())}
    more = {name: one for name, one in fields.items() if name not in needed}
    return st.fixed_dictionaries(needed, optional=more)


def requests() -> SearchStrategy[Drawn]:
    """Return requests of all kinds to all routes, and to some that are none."""
    known = routes()
    return st.one_of(valid(known), nearly(known), garbage(known))


@st.composite
def valid(draw: DrawFn, known: list[Route]) -> Drawn:
    """Return what a route asks for."""
    route = draw(st.sampled_from(known))
    body = b"" if route.body is None else plain(draw(route.body))
    pairs = {name: draw(one) for name, one in route.query.items()}
    return Drawn("valid", route.method, route.path + asked(pairs), body, {})


@st.composite
def nearly(draw: DrawFn, known: list[Route]) -> Drawn:
    """Return what a route asks for, but for one thing."""
    route = draw(st.sampled_from([route for route in known if route.body is not None]))
    assert route.body is not None
    said = draw(route.body)
    name = draw(st.sampled_from(sorted(said) or ["member"]))
    wrong = draw(st.sampled_from(HOSTILE))
    match draw(st.sampled_from(("other", "other", "added", "lost", "within", "number"))):
        case "other":
            said = said | {name: wrong}
        case "added":
            said = said | {draw(st.text(max_size=5)): wrong}
        case "lost":
            said = {key: value for key, value in said.items() if key != name}
        case "within":
            said = said | {name: [said.get(name), wrong]}
        case "number":
            body = plain(said | {name: 7}).replace(b": 7", b": 1e400")
            return Drawn("nearly valid", route.method, route.path, body, {})
    return Drawn("nearly valid", route.method, route.path, plain(said), {})


@st.composite
def garbage(draw: DrawFn, known: list[Route]) -> Drawn:
    """Return any method on any path with any body."""
    paths = [route.path for route in known]
    path = draw(st.sampled_from(paths) | st.sampled_from(STRANGE))
    query = draw(
        st.sampled_from((
            "",
            "?",
            "?member=m0003&member=m1",
            "?slots=-1",
            "?member=%ff%00",
            "?" + "a" * 9_000,
        ))
    )
    body = draw(st.sampled_from(GARBAGE) | st.binary(max_size=200))
    headers = draw(
        st.dictionaries(st.sampled_from(tuple(HEADERS)), st.sampled_from((0, 1)), max_size=3)
    )
    method = draw(st.sampled_from(METHODS))
    return Drawn(
        "garbage",
        method,
        path + query,
        body,
        {name: HEADERS[name][which] for name, which in headers.items()},
    )


HEADERS = {
    "Content-Type": ("text/xml", "application/json; charset=utf-16"),
    "Authorization": ("Bearer", "Basic eDp5"),
    "Accept": ("nothing", "*/*;q=\x7f"),
    "Content-Encoding": ("gzip", "br"),
    "X-Deadline-Ms": ("-1", "99999999999999999999"),
    "X-Request-Id": ("x" * 4_000, "../"),
    "Cookie": ("a=" + "b" * 4_000, ";;;"),
    "Expect": ("100-continue", "200-ok"),
    "Upgrade": ("websocket", "h2c"),
    "Range": ("bytes=0-0", "bytes=9-1"),
    "X-Forwarded-For": ("10.0.0.1", "\xe9"),
}
"""Header -> two values that no caller has reason to send."""


def plain(said: object) -> bytes:
    """Write a body; halves of characters become escapes, as an unwary caller writes them."""
    return json.dumps(said).encode()


def asked(pairs: Mapping[str, Any]) -> str:
    """Write a query."""
    words = [
        f"{name}={''.join(f'%{byte:02x}' for byte in str(value).encode())}"
        for name, value in pairs.items()
    ]
    return f"?{'&'.join(words)}" if words else ""
