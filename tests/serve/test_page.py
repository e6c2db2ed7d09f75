from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.serve.bundle import Bundle
from recsys.serve.page import Page, age, chips, count_reach
from recsys.serve.recommender import Recommender
from tests.serve.asking import Service

KNOWN = "m0003"
EVIL = '<script>alert("x")</script>'


class Tags(HTMLParser):
    """Collects tags and their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.found if tag == name]


@pytest.fixture(name="recommender")
def _recommender(bundle: Bundle) -> Recommender:
    return Recommender(bundle)


def test_a_member_is_picked_without_script_and_the_slate_is_the_services(
    recommender: Recommender, bundle: Bundle
) -> None:
    service = Service(bundle.folder.parent)
    answer = service.client.get("/", params={"member": KNOWN})
    tags = Tags(answer.text)
    [slate] = recommender.recommend([KNOWN], slots=6)
    assert answer.headers["content-type"].startswith("text/html")
    assert [form["action"] for form in tags.all("form")] == ["/"]
    assert tags.all("script") == []
    places = re.findall(r'<span class="title">(.*?)</span>', answer.text)
    assert places == [place.title for place in slate.sales]
    for place in slate.sales:
        assert f"taste {1000 * place.taste:.1f}" in answer.text
        assert f"= {1000 * place.gain:.1f}" in answer.text
        assert place.because in answer.text


def test_nothing_is_fetched_from_elsewhere_and_the_policy_says_so(bundle: Bundle) -> None:
    answer = Service(bundle.folder.parent).client.get("/")
    links = [
        value
        for _, attrs in Tags(answer.text).found
        for name, value in attrs.items()
        if name in {"href", "src", "action"}
    ]
    assert links
    assert all(link is not None and link.startswith("/") for link in links)
    assert "url(" not in answer.text
    assert "@import" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; script-src 'none'")
    assert all("style" not in attrs for _, attrs in Tags(answer.text).found)


def test_names_are_escaped_wherever_they_stand(bundle: Bundle) -> None:
    parts = bundle.parts
    info = parts.info.with_columns(brand=pl.lit(EVIL), title=pl.lit(EVIL))
    evil = Recommender(replace(bundle, parts=replace(parts, info=info, name=EVIL)))
    for member in (KNOWN, EVIL):
        html = Page().render(evil, member=member, slots=6)
        assert EVIL not in html
        assert Tags(html).all("script") == []
        assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("member", "said"), [("nobody", "is not in the bundle"), ("m0019", "wants no personal slates")]
)
def test_who_gets_no_personal_slate_is_told_why(
    recommender: Recommender, member: str, said: str
) -> None:
    html = Page().render(recommender, member=member, slots=6)
    assert f"{member} {said}" in html
    assert "taste " not in html


def test_an_empty_shelf_is_a_page_too(bundle: Bundle) -> None:
    opens = int(bundle.parts.shop.opens_at.min())
    html = Page().render(Recommender(bundle, lambda: opens - 1), member=KNOWN, slots=6)
    assert "No sale is open now; the next opens at 24 Mar 2026 12:00" in html


def test_reach_counts_each_sale_once_a_member(recommender: Recommender, bundle: Bundle) -> None:
    sampled, reach = count_reach(recommender, recommender.now(), slots=3)
    everyone = bundle.parts.members.ids[bundle.parts.personalise].tolist()
    shown = [p.sale for a in recommender.recommend(everyone, slots=3) for p in a.sales]
    assert sampled == len(everyone)
    html = Page().render(recommender, member=KNOWN, slots=3)
    assert f"Of {sampled} members who get personal slates" in html
    assert 'href="/openapi.json"' in html
    assert {sale.sale: sale.members for sale in reach} == {
        sale.sale: shown.count(sale.sale) for sale in recommender.shelf()
    }
    assert [sale.members for sale in reach] == sorted((s.members for s in reach), reverse=True)


def test_typical_members_are_of_the_bundle_and_differ_in_what_is_known(
    recommender: Recommender, bundle: Bundle
) -> None:
    chosen = chips(recommender)
    rows = bundle.parts.member_ids.rows([chip.member for chip in chosen])
    known = np.diff(bundle.parts.shop.history.member_ptr)[rows]
    assert (rows >= 0).all()
    assert known[0] == np.diff(bundle.parts.shop.history.member_ptr).max()
    assert list(known[:5]) == sorted(known[:5], reverse=True)
    # who has not agreed to personal slates is held up to nobody
    assert bundle.parts.personalise[rows].all()


def test_the_page_holds_at_a_narrow_screen_in_the_dark_and_on_paper() -> None:
    css = (Path(__file__).parents[2] / "recsys/serve/templates/page.css").read_text()
    assert "prefers-color-scheme: dark" in css
    assert "@media print" in css
    assert "max-width: 30rem" in css
    assert "white-space: nowrap" in css


def test_it_says_which_bundle_answers_how_old_its_data_is_and_whether_all_is_well(
    recommender: Recommender, bundle: Bundle
) -> None:
    html = Page().render(recommender, member="", slots=6)
    for said in (bundle.generation, bundle.manifest.made_at, "<dt>State</dt><dd>ready</dd>"):
        assert said in html
    later = bundle.parts.watermark + 3 * 3_600_000_000
    assert ", 3 h before " in Page().render(Recommender(bundle, lambda: later), member="", slots=6)
    stale = Page().render(recommender, member="", slots=6, stale=True)
    assert "A newer bundle has not opened for long" in stale
    assert "<dd>ready</dd>" not in stale


@pytest.mark.parametrize(
    ("minutes", "says"),
    [(-5, "0 min"), (119, "119 min"), (120, "2 h"), (2879, "47 h"), (2880, "2 days")],
)
def test_an_age_is_in_the_largest_unit_of_which_there_are_two(minutes: int, says: str) -> None:
    assert age(minutes * 60_000_000) == says


def test_a_page_shows_when_a_newer_bundle_does_not_open(root: Path) -> None:
    service = Service(root, stale_after_minutes=0.0)
    assert "<dd>ready</dd>" in service.client.get("/").text
    (root / "CURRENT").write_text("gone\n", encoding="utf-8")
    service.live.look()
    assert "stale: a newer bundle does not open" in service.client.get("/").text
