"""Material in, the charts of the report's sections out; the template puts them in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from recsys.evaluate import charts, wording
from recsys.evaluate.charts import Axes, Point
from recsys.evaluate.dials import padded
from recsys.evaluate.material import (
    EpochRow,
    MemberStory,
    Place,
    Reach,
    SaleMap,
)
from recsys.evaluate.reliability import Reliability
from recsys.evaluate.scale import Scale
from recsys.evaluate.svg import Shape, Tone

_MAP_TONES: tuple[Tone, ...] = ("ours", "curated", "new", "third", "alarm", "ceiling")
_MAP_SALES = 400
"""Sales drawn on the map at most, so that the page stays small."""


@dataclass(frozen=True)
class ReachFacts:
    """What the reach of one shelf comes to."""

    order: tuple[int, ...]
    """Sales by reach, widest first."""
    nobody: int
    top_share: float
    """Share of all places that the most shown tenth of the sales holds."""
    least_curated: float
    """Smallest share of members that a curated sale reaches; NaN without one."""


def losses(curve: Sequence[EpochRow]) -> Markup:
    """Draw the training loss by epoch; the published epoch is starred."""
    values = [row.loss for row in curve]
    return _learning([_epochs(curve, values, "", tone="base", shape="ring")], "training loss")


def validation(curve: Sequence[EpochRow]) -> Markup:
    """Draw what the validation block says of each epoch."""
    recall, ndcg = [r.val_recall_at_10 for r in curve], [r.val_ndcg_at_10 for r in curve]
    series = [
        _epochs(curve, recall, "recall@10 ", tone="third", shape="ring"),
        _epochs(curve, ndcg, "nDCG@10 ", tone="ours", shape="dot"),
    ]
    return _learning(series, "validation block")


def reliability(bins: Reliability) -> Markup:
    """Draw what came true against what was predicted; on the diagonal they agree."""
    scale = Scale.over([float(bins.predicted.max()), float(bins.high.max())], root=True)
    axes = Axes(scale, scale, x_name="predicted probability", y_name="came true", height=330)
    points = [
        Point(
            x=predicted,
            y=rate,
            y_range=(low, high),
            title=f"predicted {predicted:.4f}, came true {rate:.4f} ({low:.4f} to {high:.4f})",
        )
        for predicted, rate, low, high in zip(
            bins.predicted.tolist(),
            bins.rate.tolist(),
            bins.low.tolist(),
            bins.high.tolist(),
            strict=True,
        )
    ]
    return charts.scatter(points, axes, about="predicted against observed", diagonal=True)


def reach_facts(reach: Reach) -> ReachFacts:
    """Count what the skyline shows."""
    order = np.argsort(-reach.shown, kind="stable")
    total = max(int(reach.shown.sum()), 1)
    tenth = reach.shown[order][: max(len(order) // 10, 1)]
    picked = reach.shown[reach.curated]
    least = float(picked.min()) / max(reach.members, 1) if len(picked) else float("nan")
    return ReachFacts(
        order=tuple(order.tolist()),
        nobody=int((reach.shown == 0).sum()),
        top_share=float(tenth.sum()) / total,
        least_curated=least,
    )


def skyline(reach: Reach, order: Sequence[int]) -> Markup:
    """Draw one column a sale, widest reach first; new brands and curated sales are marked."""
    points = [
        Point(
            x=0,
            y=float(reach.shown[row]),
            title=f"{reach.titles[row]}: {wording.count(int(reach.shown[row]))} members",
            label="picked by an editor" if reach.curated[row] else "",
            tone="new" if reach.new[row] else "base",
        )
        for row in order
    ]
    return charts.columns(points, about=f"reach of {len(points)} sales, widest first")


def slate_scale(story: MemberStory) -> Scale:
    """Return the scale on which all places of one member's slate are drawn."""
    ends = [0.0]
    for place in story.places:
        parts = (place.taste, place.new, place.curated)
        ends += [sum(part for part in parts if part > 0), sum(part for part in parts if part < 0)]
    return Scale.over(ends, zero=True)


def place_bar(place: Place, scale: Scale) -> Markup:
    """Draw the parts of one place's score end to end."""
    parts: list[tuple[Tone, float]] = [
        ("ours", place.taste),
        ("new", place.new),
        ("curated", place.curated),
    ]
    return charts.stack(parts, scale, about=place_words(place))


def place_words(place: Place) -> str:
    """Write the parts of one place's score, per thousand."""
    parts = (("taste", place.taste), ("new", place.new), ("curated", place.curated))
    shown = [f"{name} {per_thousand(value)}" for name, value in parts if value != 0]
    return ", ".join(shown) or "nothing"


def per_thousand(value: float) -> str:
    """Write expected outcomes of a thousand such showings."""
    return wording.plain(1000 * value, 1)


def sale_map(sales: SaleMap) -> tuple[Markup, tuple[tuple[Tone, str, int], ...]]:
    """Draw the map of sales and return it with its legend (colour, category, sales)."""
    names, counts = np.unique(
        np.array(sales.category, dtype=object).astype(str), return_counts=True
    )
    order = np.argsort(-counts, kind="stable")[: len(_MAP_TONES) - 1]
    tones = {str(names[row]): _MAP_TONES[i] for i, row in enumerate(order)}
    legend = [(tones[str(names[row])], str(names[row]), int(counts[row])) for row in order]
    rest = int(counts.sum() - counts[order].sum())
    if rest:
        legend.append(("base", "all others", rest))
    # today's sales first: they are what the reader came for
    rows = np.argsort(~sales.on_shelf, kind="stable")[:_MAP_SALES][::-1]
    points = [
        Point(
            x=float(sales.xy[row, 0]),
            y=float(sales.xy[row, 1]),
            title=f"{sales.titles[row]} ({sales.category[row]})" if sales.on_shelf[row] else "",
            tone=tones.get(str(sales.category[row]), "base"),
        )
        for row in rows.tolist()
    ]
    labels = [_middle(sales, name, tone) for name, tone in tones.items()]
    about = f"map of {len(points)} sales by likeness"
    return charts.cloud(points, labels, about=about), tuple(legend)


def _middle(sales: SaleMap, category: str, tone: Tone) -> Point:
    rows = [row for row, name in enumerate(sales.category) if name == category]
    x, y = np.median(sales.xy[rows], axis=0)
    return Point(x=float(x), y=float(y), title="", label=category, tone=tone)


def _epochs(
    curve: Sequence[EpochRow], values: Sequence[float], name: str, *, tone: Tone, shape: Shape
) -> list[Point]:
    return [
        Point(
            x=row.epoch,
            y=value,
            title=f"epoch {row.epoch}: {name}{value:.4f}{', published' * row.best}",
            label=name.strip() if row is curve[-1] else "",
            tone=tone,
            shape="star" if row.best else shape,
        )
        for row, value in zip(curve, values, strict=True)
    ]


def _learning(series: Sequence[Sequence[Point]], name: str) -> Markup:
    points = [point for points in series for point in points]
    axes = Axes(
        x=Scale.over(point.x for point in points),
        y=padded([point.y for point in points]),
        x_name="epoch",
        y_name=name,
    )
    return charts.line(series, axes, about=f"{name} by epoch")
