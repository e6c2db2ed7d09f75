"""Elements of inline SVG in, escaped text out: percent across, pixels down."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise, starmap
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
_FROM_ZERO = {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy"}
"""Coordinates that are 0 unless they are written."""
_USUAL = ("class_", "base")
"""The colour of what has none, in charts.css."""
_OUT_OF_SIGHT = "position:absolute"


@cache
def style() -> Markup:
    """Return the rules of colour and size that every chart needs, for a <style> element."""
    text = (Path(__file__).parent / "templates" / "charts.css").read_text(encoding="utf-8")
    return Markup(text)  # ruff: ignore[unsafe-markup-use] - our own file, no value of a person in it


def shapes() -> Markup:
    """Return the forms that marks are drawn from; a page that shows charts holds them once."""
    forms = (tag("path", id=name, d=form) for name, form in _SHAPES.items())
    return tag(
        "svg", tag("defs", *forms), width=0, height=0, style=_OUT_OF_SIGHT, aria_hidden="true"
    )


def tag(name: str, *body: str, **attributes: str | float) -> Markup:
    """Return one element; what is not Markup is escaped. `class_` stands for class."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _short(value))
        for key, value in attributes.items()
        if (key not in _FROM_ZERO or value not in {0, "0%"}) and (key, value) != _USUAL
    )
    if not body:
        return Markup("<{0}{1}/>").format(name, written)
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, Markup("").join(body))


def percent(value: float) -> str:
    """Write a coordinate across: a thousandth of the width is less than a pixel of most pages."""
    return f"{value:.3g}%"


def picture(body: Sequence[str], height: int, about: str, *, hover: bool = False) -> Markup:
    """Return an SVG that fills its column; `about` is read to those who cannot see it.

    hover: it is shown under the mouse as well.
    """
    if hover:
        return tag("svg", tag("title", about), *body, role="img", height=height)
    return tag("svg", *body, role="img", aria_label=about, height=height)


def segment(start: tuple[float, float], end: tuple[float, float], css: str = "") -> Markup:
    """Return a line between two places (percent, pixels)."""
    (x1, y1), (x2, y2) = start, end
    ends: dict[str, str | float] = {"x1": percent(x1), "y1": y1, "x2": percent(x2), "y2": y2}
    return tag("line", **ends, class_=css) if css else tag("line", **ends)


def joined(places: Sequence[tuple[float, float]], tone: str) -> Markup:
    """Return lines from each place (percent, pixels) to the next."""
    return tag("g", *starmap(segment, pairwise(places)), class_=f"path {tone}")


def symbol(place: tuple[float, float], shape: Shape, tone: str, *, title: str = "") -> Markup:
    """Return a mark that keeps its size at any width, with its text on hover."""
    body = [tag("title", title)] if title else []
    across, down = percent(place[0]), place[1]
    if shape in {"dot", "ring"}:
        css = f"ring {tone}".removesuffix(" base") if shape == "ring" else tone
        return tag("circle", *body, cx=across, cy=down, class_=css)
    # a form that is used keeps its size while its place is a share of the width
    return tag("use", *body, href=f"#{shape}", x=across, y=down, class_=tone)


def block(start: float, end: float, *, top: float, height: int, tone: str, title: str) -> Markup:
    """Return a bar from `start` to `end` percent, whichever is the larger."""
    body = [tag("title", title)] if title else []
    x, width = percent(min(start, end)), percent(abs(end - start))
    return tag("rect", *body, x=x, y=top, width=width, height=height, class_=tone)


def _short(value: str | float) -> str:
    return value if isinstance(value, str) else f"{round(value, 1):g}"
