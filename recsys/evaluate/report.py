"""One run's material in, report.html and report.json out: a single file, no network, no script."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from pydantic import TypeAdapter

from recsys.domain.report import Report
from recsys.evaluate import comparisons, dials, sections, tradeoff, wording
from recsys.evaluate.material import (
    DataFacts,
    DialCurve,
    DialPoint,
    EpochRow,
    Material,
    MemberStory,
    Place,
    Reach,
    SaleMap,
)
from recsys.evaluate.reliability import Reliability, Stratum
from recsys.evaluate.standings import (
    metric_label,
    scorer_label,
    verdict,
)
from recsys.evaluate.svg import shapes, style
from recsys.evaluate.tiles import tiles
from recsys.rerank.novelty import HALF_LIFE_DAYS

__all__ = [
    "DataFacts",
    "DialCurve",
    "DialPoint",
    "EpochRow",
    "Material",
    "MemberStory",
    "Place",
    "Reach",
    "Reliability",
    "SaleMap",
    "redraw",
    "render",
    "write",
]

_SLATE_RIVALS = ("random", "editor", "popular", "brand_affinity")
"""Baselines whose lists are set beside the slates (DECISION 9)."""
_STARTS, _ENDS = "<!--novelty-->", "<!--/novelty-->"
"""Around the section that `redraw` replaces."""
_REACH_ROWS = 150
"""Sales listed in the table of reach at most, so that an endless catalogue stays one page."""


def render(material: Material) -> str:
    """Return the report as one HTML page that loads nothing and needs no script."""
    template = _templates().get_template("report.html.j2")
    page = template.render(
        m=material,
        style=style() + _own_style(),
        shapes=shapes(),
        tiles=tiles(material),
        novelty=_novelty(dials.of(material)),
        **_comparing(material),
        **_charting(material),
        **_reaching(material),
        **_closing(material),
    )
    return _compact(page)


def _compact(page: str) -> str:
    """Leave out what HTML lets a page leave out: ends of cells and rows, quotes of plain values.

    Quotes of a text are escaped, so that `="` stands in tags alone.
    """
    page = re.sub(r"</(?:td|th|tr|thead|tbody|tfoot|li)>", "", page)
    return re.sub(r'="([\w.%#-]+)"(/?)(?=[ />])', lambda at: f"={at[1]}{' /' * bool(at[2])}", page)


def write(material: Material, folder: Path) -> None:
    """Write report.html, report.json and, where a dial was swept, pareto.parquet into a folder."""
    (folder / "report.html").write_text(render(material), encoding="utf-8")
    (folder / "report.json").write_bytes(to_json(material))
    if curves := dials.of(material):
        tradeoff.keep(curves, folder)


def redraw(folder: Path, curves: Sequence[DialCurve]) -> bool:
    """Put other curves of settings into a report.html and report.json; tell if they are there.

    The first curve is that of the novelty dial.
    """
    page, data = folder / "report.html", folder / "report.json"
    if not page.exists() or not data.exists():
        return False
    before, start, rest = page.read_text(encoding="utf-8").partition(_STARTS)
    _, end, after = rest.partition(_ENDS)
    if not start or not end:
        return False
    plain: dict[str, Any] = json.loads(data.read_bytes())
    dial, *ways = TypeAdapter(Any).dump_python(list(curves), mode="json")
    plain |= {"dial": dial["points"], "dial_now": dial["now"], "ways": ways}
    page.write_text(before + _compact(_novelty(curves)) + after, encoding="utf-8")
    data.write_text(json.dumps(plain), encoding="utf-8")
    return True


def to_json(material: Material) -> bytes:
    """Return all that the page shows but the map as JSON, unrounded; NaN becomes null."""
    return TypeAdapter(Any).dump_json(replace(material, sale_map=None), fallback=_plain)


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"a report cannot hold a {type(value).__name__}")


@cache
def _templates() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["grouped"] = wording.count
    return environment


@cache
def _own_style() -> Markup:
    text = (Path(__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
    return Markup(text)  # ruff: ignore[unsafe-markup-use] - our own file, no value of a person in it


def _comparing(material: Material) -> dict[str, object]:
    report = material.report
    where, _, name = report.headline.rpartition("/")
    own_depth = name.partition("_at_")[2]
    depth = comparisons.slate_depth(report)
    return {
        "verdict": verdict(report),
        "headline": comparisons.headline(report),
        "headline_name": metric_label(report.headline),
        "headline_words": comparisons.without_past(report),
        "metrics": comparisons.metrics(report, where or "all", own_depth),
        "depth": depth,
        "slate_metrics": _slate_metrics(report, depth),
        "slices": comparisons.slices(report),
        "slice_name": wording.label(comparisons.slice_metric(report)),
        "slice_second": wording.label(comparisons.second_metric(report)),
    }


def _slate_metrics(report: Report, depth: str) -> comparisons.MetricTable | None:
    if not depth:
        return None
    return comparisons.metrics(report, "all", depth, only=_SLATE_RIVALS)


def _novelty(curves: Sequence[DialCurve]) -> Markup:
    """Return the section on what novelty costs; in words where nothing was swept."""
    ways = dials.of_novelty(curves)
    found = (
        _templates()
        .get_template("novelty.html.j2")
        .render(
            new_days=f"{HALF_LIFE_DAYS:g}",
            rivals=dials.keys(curves),
            price=dials.drawn(ways, dials.PRICE),
            outcome=dials.drawn(ways, dials.OUTCOME),
            variety=dials.drawn(dials.of_variety(curves), dials.VARIETY),
            curated=dials.drawn(dials.of_picks(curves), dials.CURATED),
            heads=dials.HEADS,
            rows=[dials.row(curve, at) for curve in curves for at in curve.points],
        )
    )
    return Markup(found)  # ruff: ignore[unsafe-markup-use] - our own template, which escapes


def _charting(material: Material) -> dict[str, object]:
    curve, bins = material.curve, material.reliability
    return {
        "validation": sections.validation(curve) if curve else "",
        "losses": sections.losses(curve) if curve else "",
        "curve_rows": [_curve_row(row) for row in curve],
        "reliability": sections.reliability(bins) if bins else "",
        "promised": wording.plain(bins.ratio, 2) if bins else "",
        "reliability_rows": _reliability_rows(bins) if bins else [],
        "strata_rows": [_stratum_row(one) for one in material.strata],
    }


def _reaching(material: Material) -> dict[str, object]:
    reach = material.reach
    if reach is None or not len(reach.shown):
        return {"reach_rows": [], "reach_words": "", "skyline": ""}
    facts = sections.reach_facts(reach)
    order = facts.order[:_REACH_ROWS]
    left_out = len(facts.order) - len(order)
    nobody = wording.count(facts.nobody) if facts.nobody else "None"
    words = [
        f"The most shown tenth of the sales holds {wording.percent(facts.top_share, 0)} of places.",
        f"{nobody} of {wording.count(len(facts.order))} reach nobody.",
    ]
    if np.isfinite(facts.least_curated):
        least = wording.percent(facts.least_curated)
        words.append(f"The least shown pick of an editor reaches {least} of members.")
    if left_out:
        words.append(f"{wording.count(left_out)} more sales are in report.json.")
    return {
        "skyline": sections.skyline(reach, order),
        "reach_words": " ".join(words),
        "reach_rows": [_reach_row(reach, row) for row in order],
    }


def _closing(material: Material) -> dict[str, object]:
    drawn, legend = sections.sale_map(material.sale_map) if material.sale_map else ("", ())
    report = material.report
    told = material.facts.notes if material.facts else ()
    notes = dict.fromkeys([*report.notes, *material.notes])
    return {
        "stories": [(story, _places(story)) for story in material.members],
        "sale_map": drawn,
        "map_legend": legend,
        "map_kept": wording.percent(material.sale_map.kept, 0) if material.sale_map else "",
        "notes": [note for note in notes if note not in told],
        "seconds": [(scorer_label(key), f"{value:.1f}") for key, value in report.seconds.items()],
    }


def _places(story: MemberStory) -> list[tuple[Place, Markup, str]]:
    scale = sections.slate_scale(story)
    return [
        (
            place,
            sections.place_bar(place, scale),
            sections.per_thousand(place.taste + place.new + place.curated),
        )
        for place in story.places
    ]


def _curve_row(row: EpochRow) -> Sequence[str]:
    scores = (row.loss, row.val_ndcg_at_10, row.val_recall_at_10)
    return [
        f"{row.epoch}{', published' * row.best}",
        *(wording.plain(score, 4) for score in scores),
    ]


def _reliability_rows(bins: Reliability) -> list[Sequence[str]]:
    columns = zip(bins.predicted, bins.rate, bins.low, bins.high, strict=True)
    return [
        [*(wording.plain(float(number), 4) for number in numbers), wording.count(int(n))]
        for numbers, n in zip(columns, bins.n, strict=True)
    ]


def _stratum_row(one: Stratum) -> Sequence[str]:
    rows = {"all": "whole shelves", "chosen": "slates"}[one.rows]
    ends = (
        f"{wording.plain(by.low, 2)} to {wording.plain(by.high, 2)}"
        for by in (one.ratio, one.by_sale)
    )
    return [
        f"{one.name.replace('_', ' ')}, {rows}",
        wording.count(one.ratio.n),
        wording.plain(one.ratio.value, 2),
        *ends,
        wording.plain(one.entropy),
        wording.plain(one.bins.error, 4),
    ]


def _reach_row(reach: Reach, row: int) -> Sequence[str]:
    flags = ["new brand"] * bool(reach.new[row]) + ["curated"] * bool(reach.curated[row])
    shown = int(reach.shown[row])
    share = wording.percent(shown / max(reach.members, 1))
    return [reach.titles[row], reach.brands[row], ", ".join(flags), wording.count(shown), share]
