"""Points in, charts as inline SVG out: fluid in width, no script, fit for phones and paper.

All x coordinates are percent and all y coordinates pixels, so a chart fills any width while its
text keeps its size. Colours are classes: a page that shows charts includes `svg.style()` once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, starmap

from markupsafe import Markup

from recsys.evaluate.scale import Scale
from recsys.evaluate.svg import Shape, Tone, block, joined, percent, picture, segment, symbol, tag

_LEFT, _RIGHT, _TOP = 10.0, 97.0, 34
_TRACK = 26
_NOMINAL = 420
"""Pixels of width for which labels are kept apart."""

_HEIGHTS = (-7.0, 16.0, -20.0, 29.0)
"""Where a label may stand above or below its mark, in pixels."""

_Line = tuple[tuple[float, float], tuple[float, float]]
"""Both ends of a line, each percent from the left and pixels from the top."""
_Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels of a picture _NOMINAL wide."""


@dataclass(frozen=True)
class Point:
    """A mark at (x, y) with its intervals, a text on hover and, if wanted, a label beside it."""

    x: float
    y: float
    title: str
    label: str = ""
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    tone: Tone = "ours"
    shape: Shape = "dot"


@dataclass(frozen=True)
class Axes:
    """The frame of a plot: scales, how their ticks are written, what they measure."""

    x: Scale
    y: Scale
    x_name: str
    y_name: str
    x_text: Callable[[float], str] | None = None
    """How ticks are written; None = as numbers."""
    y_text: Callable[[float], str] | None = None
    height: int = 230
    """Pixels, with the axis texts."""

    @property
    def floor(self) -> int:
        """Pixel row of the lowest value."""
        return self.height - 34

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return (percent from the left, pixels from the top)."""
        across = _LEFT + (_RIGHT - _LEFT) * self.x.share(x)
        return across, self.floor - (self.floor - _TOP) * self.y.share(y)


def line(series: Sequence[Sequence[Point]], axes: Axes, *, about: str) -> Markup:
    """Draw series whose points are joined in their order; `about` is read to the blind."""
    ways = [[axes.place(point.x, point.y) for point in points] for points in series if points]
    tones = [points[0].tone for points in series if points]
    paths = list(starmap(joined, zip(ways, tones, strict=True)))
    lines = [ends for way in ways for ends in pairwise(way)]
    marks = [point for points in series for point in points]
    return _plot(paths, marks, axes, about=about, lines=lines)


def scatter(points: Sequence[Point], axes: Axes, *, about: str, diagonal: bool = False) -> Markup:
    """Draw points with their intervals; `diagonal` adds the line on which x equals y."""
    under = []
    if diagonal:
        low, high = max(axes.x.low, axes.y.low), min(axes.x.high, axes.y.high)
        under = [segment(axes.place(low, low), axes.place(high, high), "equal")]
    return _plot(under, points, axes, about=about)


def sparkline(values: Sequence[float], *, about: str) -> Markup:
    """Draw a line without axes, 28 pixels high; its last point is marked."""
    scale = Scale.over(values)
    places = [
        (2 + 94 * i / max(len(values) - 1, 1), 23 - 18 * scale.share(value))
        for i, value in enumerate(values)
    ]
    return picture(
        [joined(places, "ours"), *(symbol(end, "dot", "ours") for end in places[-1:])], 28, about
    )


def track(
    points: Sequence[Point], scale: Scale, *, about: str, grid: str, bar: bool = False
) -> Markup:
    """Draw one row of a dot-and-whisker table (y is ignored); `bar` fills from zero.

    `grid` is the name that the table's own `track_axis` gives to the lines behind the marks.
    """
    body = [tag("use", href=f"#{grid}")]
    for point in points:
        place = _inset(scale, point.x)
        if bar:
            zero = _inset(scale, 0)
            body.append(block(zero, place, top=-7, height=14, tone=point.tone, title=point.title))
        if point.x_range:
            low, high = (_inset(scale, end) for end in point.x_range)
            body.append(segment((low, 0), (high, 0), point.tone))
        if not bar:
            body.append(symbol((place, 0), point.shape, point.tone, title=point.title))
    # seen from its middle line, at which nearly all marks stand
    return tag("svg", tag("svg", *body, y=_TRACK / 2), role="img", aria_label=about, height=_TRACK)


def track_axis(scale: Scale, *, grid: str) -> Markup:
    """Draw the ticks that stand below a column of tracks, and name the lines behind these."""
    lines, texts = [], []
    for tick, text in scale.labels(most=4):
        x = percent(_inset(scale, tick))
        lines.append(tag("line", x1=x, x2=x, y1=-_TRACK / 2, y2=_TRACK / 2, class_="grid"))
        texts.append(tag("text", text, x=x, y=12, class_="mid"))
    shared = tag("defs", tag("g", *lines, id=grid))
    return picture([shared, *texts], 16, "scale of the marks above")


def stack(parts: Sequence[tuple[Tone, float]], scale: Scale, *, about: str) -> Markup:
    """Draw parts of a sum end to end: positive ones right of zero, negative ones left of it."""
    ends = {True: 0.0, False: 0.0}
    body = []
    for tone, value in parts:
        start = ends[value > 0]
        ends[value > 0] = start + value
        left, right = 100 * scale.share(start), 100 * scale.share(start + value)
        if value:
            body.append(block(left, right, top=0, height=10, tone=tone, title=""))
    if scale.low < 0:
        zero = percent(100 * scale.share(0))
        body.append(tag("line", x1=zero, x2=zero, y1=-2, y2=12, class_="zero"))
    return picture(body, 10, about, hover=True)


def columns(points: Sequence[Point], *, about: str, height: int = 150) -> Markup:
    """Draw one upright bar a point, as high as its y; a label puts a mark below the floor."""
    scale = Scale.over([point.y for point in points], zero=True)
    wide, floor = 100 / max(len(points), 1), height - 16
    body = []
    for tick, text in scale.labels(most=3):
        top = floor - (floor - 14) * scale.share(tick)
        body += [
            tag("line", x2="100%", y1=top, y2=top, class_="grid"),
            tag("text", text, x="100%", y=top - 3, class_="end"),
        ]
    for i, point in enumerate(points):
        high = round(max((floor - 14) * scale.share(point.y), 1))
        body.append(
            tag(
                "rect",
                tag("title", point.title),
                x=percent(wide * (i + 0.1)),
                y=floor - high,
                width=percent(wide * 0.8),
                height=high,
                class_=point.tone,
            )
        )
        if point.label:
            body.append(
                symbol((wide * (i + 0.5), floor + 9), "diamond", "curated", title=point.label)
            )
    return picture(body, height, about)


def cloud(
    points: Sequence[Point], labels: Sequence[Point], *, about: str, height: int = 320
) -> Markup:
    """Draw points without axes; those without a title are specks, one path for each colour."""
    across = Scale.over(point.x for point in points)
    down = Scale.over(point.y for point in points)
    axes = Axes(across, down, "", "", height=height)
    body = []
    for tone in dict.fromkeys(point.tone for point in points):
        specks = [axes.place(p.x, p.y) for p in points if p.tone == tone and not p.title]
        path = tag("path", d=_specks(specks), class_=f"speck {tone}")
        box = f"0 0 1000 {height}"
        body.append(tag("svg", path, viewBox=box, preserveAspectRatio="none"))
    named = [mark for point in points if point.title for mark in _mark(point, axes)]
    return picture([*body, *named, *_labels(labels, axes)], height, about)


def _specks(places: Sequence[tuple[float, float]]) -> str:
    """Return a path of dots of zero length, eight bytes each: many sales stay a small page."""
    path, before = "", (0, 0)
    for x, y in sorted((round(10 * x), round(y)) for x, y in places):
        right, down = x - before[0], y - before[1]
        path += f"m{right}{'' if down < 0 else ' '}{down}h0"
        before = (x, y)
    return path


def _inset(scale: Scale, value: float) -> float:
    """Keep marks at the ends of a track inside it."""
    return 3 + 94 * scale.share(value)


def _plot(
    under: Sequence[Markup],
    points: Sequence[Point],
    axes: Axes,
    *,
    about: str,
    lines: Sequence[_Line] = (),
) -> Markup:
    frame = [tag("text", axes.y_name, y=11, class_="name")]
    for tick, text in axes.y.labels(most=5):
        top = axes.place(axes.x.low, tick)[1]
        frame += [
            tag("line", x2="100%", y1=top, y2=top, class_="grid"),
            tag("text", axes.y_text(tick) if axes.y_text else text, y=top - 3),
        ]
    for tick, text in axes.x.labels(most=6):
        x = percent(axes.place(tick, axes.y.low)[0])
        words = axes.x_text(tick) if axes.x_text else text
        frame.append(tag("text", words, x=x, y=axes.floor + 15, class_="mid"))
    frame.append(tag("text", axes.x_name, x="100%", y=axes.height - 4, class_="name end"))
    marks = [mark for point in points for mark in _mark(point, axes)]
    drawn = [*lines, *(whisker for point in points for whisker in _whiskers(point, axes))]
    texts = _labels(points, axes, drawn)
    return picture([*frame, *under, *marks, *texts], axes.height, about)


def _whiskers(point: Point, axes: Axes) -> list[_Line]:
    across = [axes.place(end, point.y) for end in point.x_range or ()]
    down = [axes.place(point.x, end) for end in point.y_range or ()]
    return [(ends[0], ends[1]) for ends in (across, down) if ends]


def _mark(point: Point, axes: Axes) -> list[Markup]:
    place, tone = axes.place(point.x, point.y), point.tone
    whiskers = [segment(start, end, tone) for start, end in _whiskers(point, axes)]
    return [*whiskers, symbol(place, point.shape, tone, title=point.title)]


def _labels(points: Sequence[Point], axes: Axes, lines: Sequence[_Line] = ()) -> list[Markup]:
    """Put each label at the freest side of its mark: near before far, right before left."""
    places = [axes.place(point.x, point.y) for point in points]
    taken = [(x * _NOMINAL / 100 - 4, y - 4, 8.0, 8.0) for x, y in places]
    crossed = [box for line in lines for box in _along(line)]
    labels = []
    for point, (x, y) in zip(points, places, strict=True):
        if not point.label:
            continue
        width, center = 6.2 * len(point.label), x * _NOMINAL / 100
        sides = [(right, down) for down in _HEIGHTS for right in (9.0, -9 - width)]
        boxes = [(center + right, y + down - 10, width, 12.0) for right, down in sides]
        chosen = min(range(len(boxes)), key=lambda i: _crowd(boxes[i], taken, crossed))
        taken.append(boxes[chosen])
        right, down = sides[chosen]
        css, shift = ("label", 9) if right > 0 else ("label end", -9)
        labels.append(
            tag(
                "text",
                point.label,
                x=percent(x),
                y=y + down,
                dx=shift,
                class_=f"{css} {point.tone}",
            )
        )
    return labels


def _along(line: _Line) -> list[_Box]:
    """Return small boxes along a line, in nominal pixels."""
    (x1, y1), (x2, y2) = ((x * _NOMINAL / 100, y) for x, y in line)
    steps = max(int(max(abs(x2 - x1), abs(y2 - y1)) / 4), 1)
    shares = [i / steps for i in range(steps + 1)]
    return [(x1 + s * (x2 - x1) - 1, y1 + s * (y2 - y1) - 1, 2.0, 2.0) for s in shares]


def _crowd(box: _Box, taken: Sequence[_Box], crossed: Sequence[_Box]) -> tuple[bool, int, int]:
    """Count what a text would cover: whether it leaves the picture, marks and texts, lines."""
    x, _, width, _ = box
    outside = x < 0 or x + width > _NOMINAL
    return outside, sum(_meet(box, other) for other in taken), sum(_meet(box, o) for o in crossed)


def _meet(one: _Box, other: _Box) -> bool:
    (x, y, width, height), (a, b, w, h) = one, other
    return x < a + w and a < x + width and y < b + h and b < y + height
