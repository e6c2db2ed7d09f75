"""The page about the routes: whole, of our own making alone, and its lines can be typed."""

from __future__ import annotations

import json
import re
import shlex
from html import unescape
from pathlib import Path

import pytest

from recsys.serve import docs_page, openapi
from recsys.serve.bundle import Bundle
from recsys.serve.docs_page import DocsPage, kind_of
from recsys.serve.keys import SCOPES
from tests.serve.asking import Service, refused
from tests.serve.test_guard import OUTSIDE, key
from tests.serve.test_page import EVIL, Tags

URL = "http://127.0.0.1:8000"


def lines(html: str) -> list[list[str]]:
    """The words of each line of shell on the page."""
    found = re.findall(r"<pre><code>(.*?)</code></pre>", html, re.DOTALL)
    return [shlex.split(unescape(line)) for line in found]


def test_every_route_of_the_document_has_a_line_that_asks_it(bundle: Bundle) -> None:
    html = Service(bundle.folder.parent).client.get("/docs").text
    said = openapi.document()["paths"]
    routes = [(method.upper(), path) for path, methods in said.items() for method in methods]
    titles = re.findall(r"<h2><code>(.*?) (.*?)</code></h2>", html)
    assert titles == routes
    for (method, path), words in zip(routes, lines(html), strict=True):
        assert words[:2] == ["curl", "-s"]
        assert re.fullmatch(rf"http://127\.0\.0\.1(:\d+)?{re.escape(path)}(\?.*)?", words[2])
        assert (method == "POST") == ("-d" in words or "-X" in words)


def test_its_lines_are_answered(bundle: Bundle, tmp_path: Path) -> None:
    service = Service(bundle.folder.parent, feedback=str(tmp_path / "told"))
    known = {"m000042": "m0003", "s01195": "s0070"}
    html = service.client.get("/docs").text
    assert len(lines(html)) > 10
    for words in lines(html):
        body = words[words.index("-d") + 1] if "-d" in words else None
        for ours, theirs in known.items():
            body = None if body is None else body.replace(ours, theirs)
        method = "POST" if {"-d", "-X"} & set(words) else "GET"
        answer = service.client.request(method, words[2], content=body)
        assert answer.status_code in {200, 202}, (words, answer.text)
        assert body is None or json.loads(body)


def test_a_key_is_sent_where_keys_are_asked_for() -> None:
    keyed = DocsPage(keyed=True).render(URL)
    for words in lines(keyed):
        free = words[2].endswith(("/livez", "/readyz"))
        assert ("-H" in words) != free
        assert free or words[words.index("-H") + 1] == docs_page.KEY
    assert not any("-H" in words for words in lines(DocsPage(keyed=False).render(URL)))


def test_every_field_of_what_is_asked_stands_there_with_its_meaning(bundle: Bundle) -> None:
    html = unescape(Service(bundle.folder.parent).client.get("/docs").text)
    for schema in openapi.document()["components"]["schemas"].values():
        for name, field in schema["properties"].items():
            assert f"<code>{name}</code>" in html
            assert field.get("description", "") in html


def test_nothing_is_fetched_and_no_script_runs(bundle: Bundle) -> None:
    answer = Service(bundle.folder.parent).client.get("/docs")
    tags = Tags(answer.text)
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; script-src 'none'; style-src 'sha256-")
    assert answer.headers["x-content-type-options"] == "nosniff"
    names = {tag for tag, _ in tags.found}
    assert not names & {"script", "img", "link", "iframe", "object", "embed", "form"}
    assert {link["href"] for link in tags.all("a")} == {"/openapi.json", "/"}
    assert all("style" not in attrs for _, attrs in tags.found)
    assert not any(name.startswith("on") for _, attrs in tags.found for name in attrs)


def test_what_a_document_says_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    evil = openapi.document()
    evil["paths"]["/v1/shelf"]["get"]["description"] = EVIL
    evil["components"]["schemas"]["Alike"]["properties"]["member"]["description"] = EVIL
    monkeypatch.setattr(docs_page, "document", lambda: evil)
    html = DocsPage(keyed=False).render(f"{URL}/{EVIL}")
    assert EVIL not in html
    assert html.count("&lt;script&gt;") >= 3


def test_it_shows_where_the_service_listens_and_not_what_a_caller_says(bundle: Bundle) -> None:
    service = Service(bundle.folder.parent)
    html = service.client.get("/docs", headers={"Host": "evil.example"}).text
    assert "evil.example" not in html


def test_off_this_machine_there_is_none_and_the_page_does_not_point_at_it(
    bundle: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "keys.json"
    held = key(path, *SCOPES)
    outside = Service(bundle.folder.parent, keys=path, host=OUTSIDE)
    refused(outside.client.get("/docs", headers=held), 404, "not_found")
    page = outside.client.get("/", headers=held).text
    assert 'href="/docs"' not in page
    assert 'href="/docs"' in Service(bundle.folder.parent).client.get("/").text
    inside = Service(bundle.folder.parent, keys=path)
    refused(inside.client.get("/docs"), 401, "no_key")
    assert "$KEY" in inside.client.get("/docs", headers=held).text


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"$ref": "#/components/schemas/Place"}, "Place"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or null"),
        ({"type": "array", "items": {"type": "string"}}, "list of text"),
        ({"type": "array"}, "list"),
        ({"enum": ["a", "b", None]}, "a | b"),
        ({"type": "integer", "minimum": 1, "maximum": 1000}, "whole number, 1 to 1000"),
        ({"type": "string", "format": "date-time"}, "instant"),
        ({}, "anything"),
    ],
)
def test_what_a_field_holds_is_said_in_a_few_words(schema: dict[str, object], says: str) -> None:
    assert kind_of(schema) == says
