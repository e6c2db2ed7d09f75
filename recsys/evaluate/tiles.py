"""Material in, the handful of figures at the top of the report out."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from recsys.evaluate import charts, sections, wording
from recsys.evaluate.material import Material
from recsys.evaluate.standings import best_baseline, metric_label, standings


@dataclass(frozen=True)
class Tile:
    """One figure with what it means."""

    name: str
    figure: str
    note: str
    half: str = ""
    """Half of its interval."""
    spark: Markup | None = None


def tiles(material: Material) -> tuple[Tile, ...]:
    """Return the tiles for which the material has wording."""
    found = (_taste(material), _ceiling(material), _discovery(material), _reach(material),
             _calibration(material))  # fmt: skip
    return tuple(tile for tile in found if tile is not None)


def _taste(material: Material) -> Tile | None:
    rows = standings(material.report, material.report.headline)
    taste = next((row for row in rows if row.name == "taste"), None)
    best = best_baseline(rows)
    if taste is None or best is None:
        return None
    values = [row.val_ndcg_at_10 for row in material.curve]
    return Tile(
        name=metric_label(material.report.headline),
        figure=wording.plain(taste.estimate.value),
        half=f"±{wording.plain(wording.half_width(taste.estimate))}",
        note=f"{best.label}: {wording.plain(best.estimate.value)}",
        spark=charts.sparkline(values, about="nDCG@10 on validation by epoch") if values else None,
    )


def _ceiling(material: Material) -> Tile | None:
    rows = {row.name: row for row in standings(material.report, material.report.headline)}
    if not {"visible_oracle", "taste"} <= rows.keys():
        return None
    share = rows["taste"].estimate.value / rows["visible_oracle"].estimate.value
    return Tile(
        name="Of what could be known",
        figure=wording.percent(share, 0),
        note="taste as a share of the visible oracle, which knows all but hidden quality and luck",
    )


def _discovery(material: Material) -> Tile | None:
    now = next((at for at in material.dial or () if at.dial == material.dial_now), None)
    if now is None:
        return None
    kept = wording.percent(now.value_kept.value)
    return Tile(
        name="Places to new brands",
        figure=wording.percent(now.discovery_share.value),
        note=f"at dial {now.dial:g}, with {kept} of the expected value kept",
    )


def _reach(material: Material) -> Tile | None:
    if material.reach is None or not len(material.reach.shown):
        return None
    nobody = sections.reach_facts(material.reach).nobody
    return Tile(
        name="Sales shown to nobody",
        figure=wording.count(nobody),
        note=f"of {wording.count(len(material.reach.shown))} on the shelf",
    )


def _calibration(material: Material) -> Tile | None:
    if material.reliability is None:
        return None
    return Tile(
        name="Promised per one true",
        figure=wording.plain(material.reliability.ratio, 2),
        note=f"{material.value_label}; 1 is right",
    )
