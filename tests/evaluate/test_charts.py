from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree as ET  # ruff: ignore[suspicious-xml-etree-import] - reads only what our charts made

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from recsys.evaluate import charts, svg
from recsys.evaluate.charts import Axes, Point
from recsys.evaluate.scale import Scale

NASTY = '<script>alert("1")</script> & co'
VALUES = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))
SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def tree(picture: Markup) -> ET.Element:
    return ET.fromstring(picture)  # ruff: ignore[suspicious-xml-element-tree-usage] - the same


def points(values: list[float]) -> list[Point]:
    return [Point(x=i, y=value, title=f"{i}") for i, value in enumerate(values)]


def axes(values: list[float]) -> Axes:
    return Axes(Scale.over(range(len(values))), Scale.over(values), "x", "y")


def every_chart(title: str) -> list[Markup]:
    point = Point(x=0.5, y=0.5, title=title, label=title, x_range=(0, 1), y_range=(0.2, 0.8))
    other = Point(x=0.9, y=0.1, title=title, shape="star")
    scale = Scale(0, 1)
    frame = Axes(scale, scale, title, title)
    return [
        charts.line([[point, other]], frame, about=title),
        charts.scatter([point, other], frame, about=title, diagonal=True),
        charts.sparkline([1, 3, 2], about=title),
        charts.track([point, other], scale, about=title, grid="g"),
        charts.track([point], scale, about=title, grid="g", bar=True),
        charts.track_axis(scale, grid="g"),
        charts.stack([("ours", 0.5), ("new", 0.2)], scale, about=title),
        charts.columns([point, other], about=title),
        charts.cloud([point, other], [point], about=title),
    ]


def places(picture: Markup, across: str, down: str) -> tuple[list[float], list[float]]:
    shares = [float(x) for x in re.findall(rf' (?:{across})="([-\d.e]+)%"', picture)]
    pixels = [float(y) for y in re.findall(rf' (?:{down})="([-\d.e]+)"', picture)]
    return shares, pixels


def test_every_chart_is_a_picture_with_a_name_for_those_who_cannot_see_it() -> None:
    for picture in every_chart("reach"):
        root = tree(picture)
        assert root.tag == "svg"
        assert root.attrib["role"] == "img"
        title = root.find("title")
        assert root.attrib.get("aria-label") or (title is not None and title.text)


def test_texts_are_escaped_wherever_they_stand() -> None:
    for picture in every_chart(NASTY):
        assert "<script" not in picture
        assert "script" not in {element.tag for element in tree(picture).iter()}


def test_charts_load_nothing_and_run_nothing() -> None:
    for picture in every_chart("x"):
        assert not re.search(r"https?:|\bon\w+=|url\(|<image", picture)


@given(SHARES)
def test_marks_stay_inside_the_picture(values: list[float]) -> None:
    frame = axes(values)
    shares, pixels = places(charts.line([points(values)], frame, about=""), "cx|x1|x2", "cy|y1|y2")
    assert all(0 <= share <= 100 for share in shares)
    assert all(0 <= pixel <= frame.height for pixel in pixels)


@given(SHARES)
def test_a_higher_value_is_never_drawn_lower(values: list[float]) -> None:
    frame = axes(values)
    tops = [frame.place(0, value)[1] for value in sorted(values)]
    assert tops == sorted(tops, reverse=True)


@given(st.lists(VALUES, min_size=1, max_size=20), st.booleans(), st.integers(2, 8))
def test_ticks_are_few_ascending_and_inside_the_range(
    values: list[float], zero: bool, most: int
) -> None:
    scale = Scale.over(values, zero=zero)
    ticks = scale.ticks(most)
    room = 1e-6 * (scale.high - scale.low)
    assert 1 <= len(ticks) <= most
    assert list(ticks) == sorted(set(ticks))
    assert scale.low - room <= ticks[0] <= ticks[-1] <= scale.high + room


@given(st.floats(1e-4, 1e4), st.integers(2, 8))
def test_ticks_of_a_root_scale_keep_their_distance(high: float, most: int) -> None:
    scale = Scale.over([high], root=True)
    places_ = [scale.share(tick) for tick in scale.ticks(most)]
    assert len(places_) <= most + 2
    assert all(b - a >= 1 / (most + 1) - 1e-9 for a, b in pairwise(places_))


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (1, 12, ["2", "4", "6", "8", "10", "12"]),
        (-0.5, 0.5, ["\N{MINUS SIGN}0.4", "\N{MINUS SIGN}0.2", "0.0", "0.2", "0.4"]),
        (0, 12_000, ["0", "2,000", "4,000", "6,000", "8,000", "10,000", "12,000"]),
    ],
)
def test_ticks_are_written_with_the_digits_they_need(
    low: float, high: float, texts: list[str]
) -> None:
    assert [text for _, text in Scale(low, high).labels(most=7)] == texts


def test_an_axis_without_a_range_is_refused() -> None:
    with pytest.raises(ValueError, match="an axis from 1"):
        Scale(1, 1)
    with pytest.raises(ValueError, match="root True"):
        Scale(-1, 1, root=True)


@pytest.mark.parametrize("values", [[], [float("nan")], [3.0], [0.0, 0.0]])
def test_a_scale_can_be_made_over_anything(values: list[float]) -> None:
    scale = Scale.over(values)
    assert scale.low < scale.high
    assert 0 <= scale.share(float("nan")) <= 1


@given(
    st.lists(
        st.floats(-5, 5).filter(lambda part: part == 0 or abs(part) > 1e-3), min_size=1, max_size=5
    )
)
def test_parts_of_a_stack_are_as_wide_as_they_say_and_do_not_overlap(parts: list[float]) -> None:
    ends = [sum(p for p in parts if p > 0), sum(p for p in parts if p < 0)]
    scale = Scale.over(ends, zero=True)
    drawn = tree(charts.stack([("ours", part) for part in parts], scale, about="")).iter("rect")
    boxes = [
        (float(bar.attrib.get("x", "0%")[:-1]), float(bar.attrib.get("width", "0%")[:-1]))
        for bar in drawn
    ]
    span = scale.high - scale.low
    shown = [part for part in parts if part]
    assert [width for _, width in boxes] == pytest.approx(
        [100 * abs(part) / span for part in shown], abs=0.1
    )
    edges = sorted((x, x + width) for x, width in boxes)
    assert all(a[1] <= b[0] + 0.2 for a, b in pairwise(edges))


def test_negative_parts_stand_left_of_a_marked_zero() -> None:
    picture = charts.stack([("ours", 3.0), ("new", -1.0)], Scale(-1, 3), about="")
    assert 'class="zero"' in picture
    assert '<rect width="25%" height="10" class="new"/>' in picture
    assert 'class="zero"' not in charts.stack([("ours", 3.0)], Scale(0, 3), about="")


def test_columns_are_as_high_as_their_values_and_marked_where_labelled() -> None:
    shown = [Point(0, 10, "a", label="picked"), Point(0, 5, "b"), Point(0, 0, "c")]
    root = tree(charts.columns(shown, about="reach"))
    heights = [float(bar.attrib["height"]) for bar in root.iter("rect")]
    assert heights[0] == pytest.approx(2 * heights[1], abs=1)
    assert heights[2] == 1
    assert [title.text for title in root.iter("title")] == ["a", "picked", "b", "c"]


def test_labels_of_neighbours_do_not_cover_each_other() -> None:
    scale = Scale(0, 1)
    near = [Point(0.5 + d, 0.5 - d / 5, "", label=f"setting {d:g}") for d in (0, 0.06, 0.12)]
    picture = charts.scatter(near, Axes(scale, scale, "x", "y"), about="")
    found = re.findall(r'x="([\d.]+)%" y="([\d.]+)" dx="(-?\d+)" class="label( end)?', picture)
    boxes = []
    for x, y, shift, end in found:
        width = 6.2 * len("setting 0.06")
        left = float(x) * 4.2 + float(shift) - (width if end else 0)
        boxes.append((left, float(y), width))
    assert len(boxes) == 3
    for i, (x, y, w) in enumerate(boxes):
        for a, b, v in boxes[i + 1 :]:
            assert abs(y - b) >= 11 or x + w <= a or a + v <= x


def test_a_label_stands_beside_the_line_where_there_is_room() -> None:
    falling = [Point(x=i, y=-i, title="", label=f"{i}") for i in range(5)]
    frame = axes([0, -4])
    picture = charts.line([falling], replace(frame, x=Scale(0, 4)), about="")
    texts = re.findall(r'<text x="([\d.]+)%" y="([\d.]+)" dx="(-?9)" class="label', picture)
    assert len(texts) == 5
    # right of a falling line and above it, or left of it and below
    for place, (x, y, dx) in zip(falling, texts, strict=True):
        across, down = replace(frame, x=Scale(0, 4)).place(place.x, place.y)
        assert float(x) == pytest.approx(across, rel=0.01)
        assert (float(y) < down) == (float(dx) > 0)


def test_specks_without_names_cost_a_few_bytes_each() -> None:
    specks = [Point(i / 400, (i * 7 % 400) / 400, "") for i in range(400)]
    assert len(charts.cloud(specks, [], about="map")) < 6_000


def test_the_style_speaks_of_every_tone_in_light_dark_and_print() -> None:
    rules = svg.style()
    for tone in ("ours", "base", "best", "ceiling", "new", "curated", "alarm", "third"):
        assert rules.count(f"--{tone}:#") == 3
    assert "prefers-color-scheme:dark" in rules
    assert "@media print" in rules


def test_what_is_drawn_through_use_is_styled_by_rules_without_ancestors() -> None:
    # a browser matches rules inside the copy alone: [role=img] is not in it
    drawn = charts.track_axis(Scale(0, 1), grid="g")
    names = {line.attrib["class"] for line in tree(drawn).iter("line")}
    assert names == {"grid"}
    assert re.search(r"[},]line\.grid\{stroke:var\(--line\)\}", svg.style())


def test_every_form_that_marks_use_is_on_the_page_once() -> None:
    drawn = "".join(
        charts.scatter(
            [Point(0.5, 0.5, "", shape=shape)], Axes(Scale(0, 1), Scale(0, 1), "", ""), about=""
        )
        for shape in ("diamond", "square", "star")
    )
    used = re.findall(r'href="#(\w+)"', drawn)
    assert used == re.findall(r'id="(\w+)"', svg.shapes()) == ["diamond", "square", "star"]
