"""Curves of settings in, the charts and the table that compare them out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from markupsafe import Markup

from recsys.domain.report import Estimate
from recsys.evaluate import charts, wording
from recsys.evaluate.charts import Axes, Point
from recsys.evaluate.material import DialCurve, DialPoint, Material
from recsys.evaluate.scale import Scale
from recsys.evaluate.svg import Tone

BOOST, PICKS = "boost", "picks"
NOVELTY = (BOOST, "slots", "price")
"""Ways to show more that is new; every other one but PICKS is about variety."""
HEADS = (
    "setting",
    "value kept",
    "hits",
    "hits, new brands",
    "places, new brands",
    "slates, curated",
    "unlike",
)
"""Of the table's columns."""
_NAMES = {
    BOOST: "dial {0:g}",
    "slots": "{0:g} kept",
    "price": "price {0:g}",
    PICKS: "picks \N{MULTIPLICATION SIGN} {0:g}",
}
_TONES: dict[str, Tone] = {
    BOOST: "base",
    PICKS: "base",
    "slots": "third",
    "price": "new",
    "mmr": "ours",
    "dpp": "new",
    "ssd": "third",
    "calibrated": "ceiling",
}
Read = Callable[[DialPoint], Estimate]


@dataclass(frozen=True)
class Figure:
    """What a chart sets against what, and how it is written."""

    x: Read
    y: Read
    x_name: str
    y_name: str
    x_share: bool = False
    y_share: bool = False


PRICE = Figure(
    lambda at: at.discovery_share,
    lambda at: at.value_kept,
    "places to brands new to the member",
    "expected value kept",
    x_share=True,
    y_share=True,
)
"""What showing more that is new costs, by the value model."""
OUTCOME = Figure(
    lambda at: at.discovery_hits,
    lambda at: at.hits,
    "hits on new brands, a slate",
    "hits, a slate",
)
"""What members did in the log."""
VARIETY = Figure(
    lambda at: at.ild,
    lambda at: at.value_kept,
    "unlike within a slate, mean of 1 - cosine",
    "expected value kept",
    y_share=True,
)
"""What variety costs."""
CURATED = Figure(
    lambda at: at.curated_share,
    lambda at: at.value_kept,
    "places to editors' picks",
    "expected value kept",
    x_share=True,
    y_share=True,
)
"""What editors' picks cost."""


def drawn(curves: Sequence[DialCurve], figure: Figure) -> Markup:
    """Draw curves; marks are settings, those of the dials with their intervals, a star is served.

    Empty without a curve.
    """
    if not curves:
        return Markup("")
    # what is published is drawn last: nothing covers its star
    ordered = sorted(curves, key=lambda one: one.now is not None)
    series = [_series(curve, figure) for curve in ordered]
    marks = list(chain.from_iterable(series))
    x = padded([end for mark in marks for end in (mark.x, *(mark.x_range or ()))])
    y = padded([end for mark in marks for end in (mark.y, *(mark.y_range or ()))])
    axes = Axes(
        x=x,
        y=y,
        x_name=figure.x_name,
        y_name=figure.y_name,
        x_text=_percents(x, most=6) if figure.x_share else None,
        y_text=_percents(y, most=5) if figure.y_share else None,
        height=260,
    )
    return charts.line(series, axes, about=_words(marks))


def of(material: Material) -> tuple[DialCurve, ...]:
    """Return the curves of a run, the dial's first; none where nothing was swept."""
    if not material.dial:
        return ()
    return (DialCurve(BOOST, material.dial, material.dial_now), *material.ways)


def keys(curves: Sequence[DialCurve]) -> list[tuple[Tone, str]]:
    """Return the colours of the dial's rivals, each with what it stands for."""
    named = {"slots": "places kept for what is new", "price": "a price for what is new"}
    return [(_TONES[one.way], named[one.way]) for one in curves if one.way in named]


def of_novelty(curves: Sequence[DialCurve]) -> list[DialCurve]:
    """Return the ways to show more that is new."""
    return [curve for curve in curves if curve.way in NOVELTY]


def of_picks(curves: Sequence[DialCurve]) -> list[DialCurve]:
    """Return the way to show more that editors picked."""
    return [curve for curve in curves if curve.way == PICKS]


def of_variety(curves: Sequence[DialCurve]) -> list[DialCurve]:
    """Return the ways to show less that is alike."""
    return [curve for curve in curves if curve.way not in {*NOVELTY, PICKS}]


def name_of(curve: DialCurve, at: DialPoint) -> str:
    """Name a setting for people: dial 0.7, 2 kept, mmr 0.25."""
    return _NAMES.get(curve.way, f"{curve.way} {{0:g}}").format(at.dial)


def row(curve: DialCurve, at: DialPoint) -> list[str]:
    """Write a setting's figures in the order of HEADS."""
    return [
        f"{name_of(curve, at)}{', published' * (at.dial == curve.now)}",
        wording.plus_minus(at.value_kept, share=True),
        wording.plus_minus(at.hits),
        wording.plus_minus(at.discovery_hits),
        wording.plus_minus(at.discovery_share, share=True),
        wording.plus_minus(at.curated_reach, share=True),
        wording.plus_minus(at.ild),
    ]


def padded(values: Sequence[float]) -> Scale:
    """Return a scale with some room at both ends."""
    scale = Scale.over(values)
    room = 0.08 * (scale.high - scale.low)
    return Scale(scale.low - room, scale.high + room)


def _series(curve: DialCurve, figure: Figure) -> list[Point]:
    dial = curve.way in {BOOST, PICKS}
    return [
        _mark(curve, at, figure, label=_label(curve, at, each=dial), ranges=dial)
        for at in curve.points
    ]


def _label(curve: DialCurve, at: DialPoint, *, each: bool) -> str:
    """Return the setting at each mark, or the way at its last alone: words crowd a chart."""
    if each:
        return f"{at.dial:g}, as published" if at.dial == curve.now else f"{at.dial:g}"
    return name_of(curve, at) if at is curve.points[-1] else ""


def _mark(curve: DialCurve, at: DialPoint, figure: Figure, *, label: str, ranges: bool) -> Point:
    x, y = figure.x(at), figure.y(at)
    starred = at.dial == curve.now
    words = [
        wording.interval(one, share=share)
        for one, share in ((x, figure.x_share), (y, figure.y_share))
    ]
    return Point(
        x=x.value,
        y=y.value,
        title=f"{name_of(curve, at)}: {words[1]} at {words[0]}",
        label=label,
        x_range=(x.low, x.high) if ranges or starred else None,
        y_range=(y.low, y.high) if ranges or starred else None,
        tone="curated" if starred else _TONES.get(curve.way, "best"),
        shape="star" if starred else "dot" if ranges else "ring",
    )


def _percents(scale: Scale, *, most: int) -> Callable[[float], str]:
    """Return how to write ticks as percent in the digits that all of them need."""
    ticks = [100 * tick for tick in scale.ticks(most)]
    digits = next((d for d in range(4) if all(math.isclose(t, round(t, d)) for t in ticks)), 4)
    return lambda value: wording.percent(value, digits)


def _words(marks: Sequence[Point]) -> str:
    return "; ".join(mark.title for mark in marks)
