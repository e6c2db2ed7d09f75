from __future__ import annotations

import re
from dataclasses import fields, replace

import pytest
from markupsafe import Markup

from recsys.evaluate import dials, wording
from recsys.evaluate.dials import CURATED, OUTCOME, PRICE, VARIETY, Figure, drawn
from recsys.evaluate.material import DialCurve, DialPoint
from tests.evaluate.materials import dial_point, estimate, material, rival


def narrow(dial: float) -> DialPoint:
    """A dial that moves little, far from zero: 82.0 to 82.4 % of places, 100 to 99.6 % kept."""
    share, kept = 0.82 + 0.01 * dial, 1 - 0.01 * dial
    return replace(
        dial_point(dial),
        discovery_share=estimate(share, 0.0005),
        value_kept=estimate(kept, 0.0002),
        discovery_hits=estimate(0.33 + 0.01 * dial, 0.001),
    )


DIAL = [DialCurve("boost", [narrow(dial) for dial in (0, 0.1, 0.2, 0.3, 0.4)])]


def titles(picture: Markup) -> list[str]:
    return re.findall(r"<title>(.*?)</title>", picture)


@pytest.mark.parametrize("figure", [PRICE, OUTCOME])
def test_a_dial_that_moves_little_fills_its_chart_all_the_same(figure: Figure) -> None:
    picture = drawn(DIAL, figure)
    across = [float(x) for x in re.findall(r'cx="([\d.]+)%"', picture)]
    assert len(across) == len(DIAL[0].points)
    assert max(across) - min(across) > 40


def test_ticks_of_a_narrow_range_are_told_apart() -> None:
    picture = drawn(DIAL, PRICE)
    ticks = re.findall(r">([\d.]+)\N{NARROW NO-BREAK SPACE}%<", picture)
    assert len(ticks) >= 6
    assert len(ticks) == len(set(ticks))


@pytest.mark.parametrize("figure", [PRICE, OUTCOME, VARIETY, CURATED])
def test_every_setting_of_every_curve_has_a_mark_that_names_it(figure: Figure) -> None:
    curves = [rival("boost", 0, 0.7, now=0.7), rival("slots", 0, 1), rival("mine", 0.5)]
    named = [title.partition(":")[0] for title in titles(drawn(curves, figure))]
    assert sorted(named) == ["0 kept", "1 kept", "dial 0", "dial 0.7", "mine 0.5"]


def test_the_published_setting_is_starred_and_nothing_is_drawn_over_it() -> None:
    curves = [rival("boost", 0, 0.7, now=0.7), rival("slots", 0, 1), rival("price", 1)]
    picture = drawn(curves, PRICE)
    assert picture.count("#star") == 1
    assert titles(picture)[-1].startswith("dial 0.7: ")
    assert "0.7, as published" in picture
    assert "#star" not in drawn([rival("slots", 0, 1)], PRICE)


def test_the_dial_alone_carries_its_intervals() -> None:
    dial, slots = rival("boost", 0, 1), rival("slots", 0, 1)
    # two lines a mark, one between two marks
    assert drawn([dial], PRICE).count("<line") - drawn([slots], PRICE).count("<line") == 2 * 2


def test_nothing_to_draw_is_nothing() -> None:
    assert not drawn([], PRICE)


def test_ways_part_into_novelty_picks_and_variety() -> None:
    ways = ("boost", "slots", "price", "picks", "mmr", "mine")
    curves = [rival(way, 0) for way in ways]
    parts = (dials.of_novelty(curves), dials.of_picks(curves), dials.of_variety(curves))
    found = [[curve.way for curve in part] for part in parts]
    assert found == [["boost", "slots", "price"], ["picks"], ["mmr", "mine"]]
    assert [text for _, text in dials.keys(curves)] == [
        "places kept for what is new", "a price for what is new"
    ]  # fmt: skip


def test_a_row_has_a_cell_for_each_head_and_says_what_is_published() -> None:
    curve = rival("picks", 1, 1.25, now=1.25)
    first, second = (dials.row(curve, at) for at in curve.points)
    assert len(first) == len(dials.HEADS)
    assert first[0] == "picks \N{MULTIPLICATION SIGN} 1"
    assert second[0] == "picks \N{MULTIPLICATION SIGN} 1.25, published"
    assert second[1] == wording.plus_minus(curve.points[1].value_kept, share=True)


def test_a_run_that_swept_nothing_has_no_curves() -> None:
    assert dials.of(material(dial=None)) == ()
    first, second = dials.of(material())
    assert (first.way, first.now, second.way) == ("boost", 0.7, "slots")
    assert len(fields(first)) == 3
