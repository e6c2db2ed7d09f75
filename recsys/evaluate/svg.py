"""Elements of inline SVG in, escaped text out: percent across, pixels down."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from markupsafe import Markup

Tone = Literal["ours", "base", "best", "ceiling", "new", "curated", "alarm", "third"]
"""What a colour means; templates/charts.css says which it is, in light and in dark."""
Shape = Literal["dot", "ring", "diamond", "square", "star"]

_SHAPES: dict[Shape, str] = {
    "diamond": "M0-5.5 5.5 0 0 5.5-5.5 0z",
    "square": "M-4-4H4V4H-4z",
    "star": "M0-8.5 2-2.8 8.1-2.6 3.3 1.1 5 6.9 0 3.5-5 6.9-3.3 1.1-8.1-2.6-2-2.8z",
}


@cache
def style() -> Markup:
    """Return the rules of colour and size that every chart needs, for a <style> element."""
    text = (Path(__file__).parent / "templates" / "charts.css").read_text(encoding="utf-8")
    return Markup(text)  # ruff: ignore[unsafe-markup-use] - our own file, no value of a person in it


def tag(name: str, *body: str, **attributes: str | float) -> Markup:
    """Return one element; what is not Markup is escaped. `class_` stands for class."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _short(value))
        for key, value in attributes.items()
    )
    if not body:
        return Markup("<{0}{1}/>").format(name, written)
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, Markup("").join(body))


def percent(value: float) -> str:
    """Write a coordinate across."""
    return f"{value:.4g}%"


def picture(body: Sequence[str], height: int, about: str) -> Markup:
    """Return an SVG that fills its column; `about` is read to those who cannot see it."""
    return tag("svg", *body, class_="chart", role="img", aria_label=about, height=height)


def segment(start: tuple[float, float], end: tuple[float, float], css: str) -> Markup:
    """Return a line between two places (percent, pixels)."""
    (x1, y1), (x2, y2) = start, end
    return tag("line", x1=percent(x1), y1=y1, x2=percent(x2), y2=y2, class_=css)


def symbol(place: tuple[float, float], shape: Shape, tone: str, *, title: str = "") -> Markup:
    """Return a mark that keeps its size at any width, with its text on hover."""
    body = [tag("title", title)] if title else []
    css = f"mark {shape} {tone}"
    if shape in {"dot", "ring"}:
        return tag("circle", *body, cx=percent(place[0]), cy=place[1], r=4, class_=css)
    # a nested picture keeps its size while its place is a share of the width
    form = tag("path", d=_SHAPES[shape])
    return tag("svg", *body, form, x=percent(place[0]), y=place[1], class_=css)


def block(start: float, end: float, *, top: float, height: int, tone: str, title: str) -> Markup:
    """Return a bar from `start` to `end` percent, whichever is the larger."""
    body = [tag("title", title)] if title else []
    x, width = percent(min(start, end)), percent(abs(end - start))
    return tag("rect", *body, x=x, y=top, width=width, height=height, class_=tone)


def _short(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
