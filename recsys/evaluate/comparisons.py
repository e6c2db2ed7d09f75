"""A report in, tables of dots and whiskers out: every figure beside the ones it must beat."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from recsys.domain.report import Estimate, Report
from recsys.evaluate import charts, wording
from recsys.evaluate.charts import Point
from recsys.evaluate.scale import Scale
from recsys.evaluate.standings import Standing, standings
from recsys.evaluate.svg import Shape, Tone

_LOOKS: dict[str, tuple[Tone, Shape]] = {
    "ours": ("ours", "dot"),
    "baseline": ("base", "ring"),
    "best": ("best", "diamond"),
    "ceiling": ("ceiling", "square"),
}
_HEADLINE, _SLICED = "grid-headline", "grid-slices"
"""Names of the lines that the rows of each table share."""
_OF_THE_PAST = ("popular", "popular_7d", "own_counts", "item_knn", "ease", "gf_cf")
"""Baselines that know a sale by its own engagements alone."""
_METRICS = ("ndcg", "recall", "mrr", "hit", "discovery_rate", "discovery_hits", "ild", "coverage")
_SLICES = (
    ("Age of the sale", ("six_hours", "after_six_hours", "day0", "older")),
    ("The brand, to the member", ("known_brand", "new_brand")),
    ("Contact with the sale", ("first_contact", "repeat")),
    ("Events in the member's past", ("history",)),
    ("Where the member acted", ("channel",)),
    ("The editors' choice", ("curated", "not_curated")),
)


@dataclass(frozen=True)
class TrackRow:
    """One row of a dot-and-whisker table."""

    label: str
    note: str
    track: Markup
    figure: str
    css: str = ""
    second: str = ""
    """The same in another metric."""


@dataclass(frozen=True)
class TrackTable:
    """Rows on one scale, in groups with a heading of their own."""

    groups: tuple[tuple[str, tuple[TrackRow, ...]], ...]
    axis: Markup


@dataclass(frozen=True)
class MetricTable:
    """All scorers by a few metrics, as text."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]
    """(label, role, one text and half of its interval a metric)."""


def headline(report: Report) -> TrackTable:
    """Draw every scorer at the headline metric, ceilings apart from ours and the baselines."""
    rows = standings(report, report.headline)
    scale = _scale(rows)
    drawn = [(row.role == "ceiling", _standing_row(row, scale)) for row in rows]
    ceilings = tuple(row for ceiling, row in drawn if ceiling)
    others = tuple(row for ceiling, row in drawn if not ceiling)
    groups = (("Ceilings: what a known world would allow", ceilings),) if ceilings else ()
    return TrackTable(
        (*groups, ("Ours and the baselines", others)), charts.track_axis(scale, grid=_HEADLINE)
    )


def metrics(
    report: Report, where: str, depth: str, *, only: Collection[str] = ()
) -> MetricTable | None:
    """Write up to six metrics of lists `depth` long in one slice; None where there are none.

    `only` names the baselines to show beside the best one; empty = all.
    """
    known = {name for slices in report.scorers.values() for name in slices.get(where, {})}
    wanted = [name for stem in _METRICS for name in (f"{stem}_at_{depth}", stem)]
    names = [name for name in wanted if name in known][:6]
    if not names:
        return None
    rows = []
    for row in standings(report, f"{where}/{names[0]}"):
        if only and row.role == "baseline" and not row.best and row.name not in only:
            continue
        found = report.scorers[row.name].get(where, {})
        texts = tuple(_cell(found.get(name), name) for name in names)
        rows.append((row.label, "best" if row.best else row.role, texts))
    return MetricTable(tuple(wording.label(name) for name in names), tuple(rows))


def slate_depth(report: Report) -> str:
    """Return how long the slates are, as a metric's name says it; empty where unknown."""
    names = report.scorers.get("slates", {}).get("all", {})
    depths = {name.partition("_at_")[2] for name in names}
    return min((depth for depth in depths if depth.isdigit()), key=int, default="")


def without_past(report: Report) -> str:
    """Say which baselines cannot tell apart the sales of day 0; empty where that is not asked."""
    if not report.headline.startswith("day0/"):
        return ""
    rows = {row.name: row for row in standings(report, report.headline)}
    chance = rows.get("random")
    if chance is None:
        return ""
    blind = [
        rows[name].label
        for name in _OF_THE_PAST
        if name in rows and rows[name].estimate.low <= chance.estimate.high
    ]
    if not blind:
        return ""
    return (
        f"No better than random here: {', '.join(blind)}. They go by what a sale itself has seen, "
        "and a sale of day 0 has no past yet."
    )


def slices(report: Report) -> TrackTable | None:
    """Draw taste beside the best baseline of each slice; None where nothing was sliced."""
    metric = slice_metric(report)
    found = [
        (title, [(name, _pair(report, f"{name}/{metric}")) for name in _members(report, stems)])
        for title, stems in _SLICES
    ]
    groups = [(title, [item for item in group if item[1]]) for title, group in found]
    groups = [(title, group) for title, group in groups if group]
    if not groups:
        return None
    scale = _scale(row for _, group in groups for _, rows in group for row in rows)
    drawn = (
        (title, tuple(_slice_row(report, (name, rows), scale) for name, rows in group))
        for title, group in groups
    )
    return TrackTable(tuple(drawn), charts.track_axis(scale, grid=_SLICED))


def second_metric(report: Report) -> str:
    """Name the metric written beside that of the slices: recall at the same depth."""
    return f"recall_at_{slice_metric(report).partition('_at_')[2] or '10'}"


def slice_metric(report: Report) -> str:
    """Name the metric the slices are shown in: the headline's, which short lists do not flatter."""
    return report.headline.rpartition("/")[2]


def _members(report: Report, stems: Sequence[str]) -> list[str]:
    """Return the slices of one group in the order of its stems, then of the first number."""
    names = report.scorers.get("taste", {})
    return [
        name
        for stem in stems
        for name in sorted(names, key=lambda name: [int(n) for n in re.findall(r"\d+", name)][:1])
        if name.startswith(stem)
    ]


def _scale(rows: Iterable[Standing]) -> Scale:
    ends = [end for row in rows for end in (row.estimate.low, row.estimate.high)]
    return Scale.over(ends, zero=True)


def _cell(estimate: Estimate | None, metric: str) -> tuple[str, str]:
    if estimate is None:
        return wording.NOT_KNOWN, ""
    value, half = wording.plus_minus(estimate, share=wording.is_share(metric)).split(" ", 1)
    return value, half


def _point(row: Standing) -> Point:
    tone, shape = _LOOKS["best" if row.best else row.role]
    estimate = row.estimate
    return Point(
        x=estimate.value,
        y=0,
        title=f"{row.label}: {wording.interval(estimate)}",
        x_range=(estimate.low, estimate.high),
        tone=tone,
        shape=shape,
    )


def _standing_row(row: Standing, scale: Scale) -> TrackRow:
    point = _point(row)
    return TrackRow(
        label=row.label,
        note="best baseline" if row.best else "",
        track=charts.track([point], scale, about=row.label, grid=_HEADLINE),
        figure=wording.plus_minus(row.estimate),
        css="best" if row.best else row.role,
    )


def _pair(report: Report, metric: str) -> tuple[Standing, ...]:
    """Return the best baseline and taste, if both are known."""
    rows = standings(report, metric)
    chosen = tuple(row for row in rows if row.best or row.name == "taste")
    return tuple(sorted(chosen, key=lambda row: row.role)) if len(chosen) == 2 else ()


def _slice_row(report: Report, pair: tuple[str, Sequence[Standing]], scale: Scale) -> TrackRow:
    name, (best, taste) = pair
    second = second_metric(report)
    also = [report.scorers[row.name][name].get(second) for row in (taste, best)]
    points = [_point(row) for row in (best, taste)]
    loses = best.estimate.low > taste.estimate.high
    return TrackRow(
        label=_slice_label(name),
        note=f"n {wording.count(taste.estimate.n)}; {'behind ' * loses}{best.label}",
        track=charts.track(points, scale, about=name, grid=_SLICED),
        figure=f"{wording.plain(taste.estimate.value)} | {wording.plain(best.estimate.value)}",
        css="behind" if loses else "",
        second=" | ".join(wording.plain(one.value) if one else wording.NOT_KNOWN for one in also),
    )


def _slice_label(name: str) -> str:
    for stem in ("history_", "channel_"):
        rest = name.removeprefix(stem)
        if rest != name:
            return rest.replace("_up", " or more").replace("_", " to ")
    return wording.label(name)
