from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from recsys.domain.report import Estimate
from recsys.evaluate import sections, tradeoff, wording
from recsys.evaluate.report import Material, Place, Reach, SaleMap, redraw, render, write
from recsys.evaluate.standings import verdict
from tests.evaluate.materials import dial_point, material, report, rival

VOID = {"meta", "br", "hr", "input", "link", "img", "wbr"}
ENDLESS = {"td", "th", "tr", "thead", "tbody", "tfoot", "li"}
"""Elements that HTML ends by what comes next."""


class Reader(HTMLParser):
    """Follows the tags, and collects text and what stands in each section."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.broken: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str | None] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID | ENDLESS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.broken.append(tag)

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def read(page: str) -> tuple[Reader, str]:
    reader = Reader()
    reader.feed(page)
    return reader, " ".join(" ".join(reader.text).split())


def test_the_page_is_whole_and_asks_the_network_for_nothing() -> None:
    page = render(material())
    reader, _ = read(page)
    assert not reader.broken
    assert not reader.open
    assert len(reader.ids) == len(set(reader.ids)) == 5
    assert not re.search(r"https?://|\ssrc=|url\(|@import|<link|\bon[a-z]+=", page)
    assert "script" not in reader.tags


def test_names_of_the_shop_are_escaped() -> None:
    page = render(material())
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_page_says_all_that_was_asked_for() -> None:
    _, text = read(render(material()))
    for said in (
        "nDCG@10 on sales of day 0",
        "Against every baseline",
        "Where it works and where it does not",
        "Learning",
        "Can value be taken at its word?",
        "What novelty costs",
        "Who will see each sale",
        "6 members, and why they get what they get",
        "12,345",
        "unknown kind",
        "python train.py data=flash_sales",
        "report.json",
        "a fact",
        "another fact",
    ):
        assert said in text


def test_a_note_stands_once_and_the_bars_say_what_is_a_forecast() -> None:
    _, text = read(render(material(notes=("dry", "value: few purchases"))))
    assert text.count("dry") == 1
    assert text.count("value: few purchases") == 1
    assert "taste is expected purchases; new and curated are bonuses" in text
    assert "has not engaged with it in the last 180 days" in text


def test_every_chart_with_axes_has_its_figures_as_a_table() -> None:
    page = render(material())
    for title in ("Learning", "What novelty costs", "Who will see each sale", "its word?"):
        section = page.split(f"{title}</h2>")[1].split("</section>")[0]
        assert "<svg" in section
        assert "<details>" in section
        assert "<table" in section


def test_a_material_with_nothing_but_a_report_still_makes_a_page() -> None:
    bare = Material(title="bare", made_at="today", report=report(oracles=False), command="x")
    reader, text = read(render(bare))
    assert not reader.broken
    assert text.count("in this run.") == 4
    assert "The dial was not swept" in text
    assert "kept no facts" in text


def test_an_empty_shelf_is_said_in_words() -> None:
    _, text = read(render(material(num_sales=0)))
    assert "No slates were made for a whole shelf" in text


@pytest.mark.parametrize(
    ("taste", "half", "apart", "outcome", "said"),
    [
        (0.40, 0.01, None, "ahead", "taste is ahead of brand affinity, the best of 4 baselines"),
        (0.36, 0.01, None, "level", "cannot be told apart"),
        (0.30, 0.01, None, "behind", "taste loses to brand affinity"),
        (0.36, 0.05, (0.005, 0.02), "ahead", "taste is ahead of brand affinity"),
        (0.34, 0.05, (-0.02, -0.005), "behind", "taste loses to brand affinity"),
        (0.40, 0.01, (-0.01, 0.09), "level", "cannot be told apart"),
    ],
)
def test_the_page_says_in_words_who_wins(
    taste: float, half: float, apart: tuple[float, float] | None, outcome: str, said: str
) -> None:
    pair = Estimate(value=taste - 0.35, low=apart[0], high=apart[1], n=9) if apart else None
    judged = report(taste, half=half, apart=pair)
    assert verdict(judged).outcome == outcome
    _, text = read(render(material(report=judged)))
    assert said in text


def test_the_largest_day_of_the_world_stays_a_small_page() -> None:
    assert len(render(material(num_sales=60)).encode()) < 70_000
    assert len(render(material(num_sales=5_000)).encode()) < 95_000


def test_what_html_may_leave_out_is_left_out_of_tags_alone() -> None:
    said = replace(material(), command='x="1" <td>y</td>')
    page = render(said)
    assert "x=&#34;1&#34; &lt;td&gt;y&lt;/td&gt;" in page
    assert "</td>" not in page
    assert not re.search(r'="[\w.%#-]+"[ />]', page.split("</style>")[1])
    assert not re.search(r"=[\w.%#-]+/>", page)


def test_report_json_holds_every_figure_unrounded(tmp_path: Path) -> None:
    write(material(), tmp_path)
    found = json.loads((tmp_path / "report.json").read_bytes())
    figure: Mapping[str, float] = found["report"]["scorers"]["taste"]["day0"]["ndcg_at_10"]
    assert figure == {"value": 0.4, "low": 0.39, "high": 0.41000000000000003, "n": 1000}
    assert found["reach"]["shown"][-1] == 39
    assert found["members"][0]["places"][1]["hit"] is True
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_swept_settings_lie_beside_the_report(tmp_path: Path) -> None:
    write(material(dial=None), tmp_path)
    assert tradeoff.kept(tmp_path) is None
    write(material(), tmp_path)
    rows = tradeoff.kept(tmp_path)
    assert rows is not None
    assert rows["way"].to_list() == ["boost"] * 3 + ["slots"] * 3
    assert rows["published"].to_list() == [False, False, True, False, False, False]


def test_other_curves_take_the_place_of_a_reports_own_and_of_nothing_else(tmp_path: Path) -> None:
    write(material(), tmp_path)
    page, data = tmp_path / "report.html", tmp_path / "report.json"
    before, known = page.read_text(encoding="utf-8"), json.loads(data.read_bytes())
    curves = [rival("boost", 0, 2.8, now=2.8), rival("picks", 1, 4), rival("mmr", 0, 1)]
    assert redraw(tmp_path, curves)
    after = page.read_text(encoding="utf-8")
    for part in (0, -1):
        assert (
            before.split("What novelty costs")[part].split("</section>", 1)[part]
            == (after.split("What novelty costs")[part].split("</section>", 1)[part])
        )
    reader, text = read(after)
    assert not reader.broken
    assert "dial 2.8, published" in text
    assert "mmr 1" in text
    assert "what editors' picks cost" in text
    assert "places kept for what is new" not in text
    found = json.loads(data.read_bytes())
    assert [one["way"] for one in found["ways"]] == ["picks", "mmr"]
    assert (found["dial"][1]["dial"], found["dial_now"]) == (2.8, 2.8)
    same = known.keys() - {"dial", "dial_now", "ways"}
    assert {name: found[name] for name in same} == {name: known[name] for name in same}
    # a second time too
    assert redraw(tmp_path, curves)
    assert page.read_text(encoding="utf-8") == after


def test_a_page_without_a_place_for_them_is_left_alone(tmp_path: Path) -> None:
    assert not redraw(tmp_path, [rival("boost", 0)])
    (tmp_path / "report.html").write_text("<p>mine</p>")
    (tmp_path / "report.json").write_text("{}")
    assert not redraw(tmp_path, [rival("boost", 0)])
    assert (tmp_path / "report.html").read_text() == "<p>mine</p>"


def test_what_is_not_a_number_is_null_in_json_and_a_dash_on_the_page(tmp_path: Path) -> None:
    point = replace(dial_point(0.0), ild=Estimate(value=np.nan, low=np.nan, high=np.nan, n=0))
    write(material(dial=[point]), tmp_path)
    found = json.loads((tmp_path / "report.json").read_bytes())
    assert found["dial"][0]["ild"]["value"] is None
    assert f"{wording.NOT_KNOWN} ±" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_parts_of_a_place_add_up_to_what_is_written_beside_its_bar() -> None:
    place = Place("t", "b", 0.0312, -0.0021, 0.0043, "r")
    assert sections.place_words(place) == "taste 31.2, new \N{MINUS SIGN}2.1, curated 4.3"
    assert sections.per_thousand(0.0312 - 0.0021 + 0.0043) == "33.4"


def test_reach_counts_the_starved_and_the_crowded() -> None:
    shown = np.array([50, 0, 30, 0, 0, 0, 10, 5, 3, 2], dtype=np.int64)
    picked = np.isin(np.arange(10), [2, 8])
    names = [str(row) for row in range(10)]
    facts = sections.reach_facts(Reach("now", 100, shown, names, names, picked, ~picked))
    assert facts.order[:3] == (0, 2, 6)
    assert facts.nobody == 4
    assert facts.top_share == pytest.approx(0.5)
    assert facts.least_curated == pytest.approx(0.03)


def test_the_map_keeps_the_two_widest_directions() -> None:
    rng = np.random.default_rng(1)
    unit = rng.standard_normal((300, 5)) * np.array([5, 3, 0.1, 0.1, 0.1])
    found = SaleMap.of(
        unit.astype(np.float32), ["a"] * 300, titles=["t"] * 300, on_shelf=np.zeros(300, np.bool_)
    )
    assert found.kept > 0.99
    assert abs(np.corrcoef(found.xy[:, 0], unit[:, 0])[0, 1]) > 0.99
    assert abs(np.corrcoef(found.xy[:, 1], unit[:, 1])[0, 1]) > 0.99
