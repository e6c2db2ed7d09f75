from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.domain.report import Report
from recsys.evaluate.material import Reach
from recsys.evaluate.reliability import reliability
from recsys.evaluate.tiles import Tile, tiles
from tests.evaluate.materials import dial_point, material, report


def named(name: str, **changes: object) -> Tile | None:
    return next((tile for tile in tiles(material(**changes)) if tile.name == name), None)  # type: ignore[arg-type]  # tests name real fields


def test_the_first_tile_is_the_headline_beside_the_best_baseline() -> None:
    first = tiles(material())[0]
    assert first.figure == "0.400"
    assert first.half == "±0.010"
    assert "0.350" in first.note
    assert first.spark is not None
    assert tiles(material(curve=[]))[0].spark is None


def test_the_ceiling_is_what_the_visible_oracle_reaches() -> None:
    tile = named("Of what could be known")
    assert tile is not None
    assert tile.figure.startswith("67")
    assert named("Of what could be known", report=report(oracles=False)) is None


def test_discovery_is_told_where_the_dial_stands() -> None:
    tile = named("Places to new brands")
    assert tile is not None
    assert tile.figure.startswith("17.0")
    assert "dial 0.7" in tile.note
    assert "98.6" in tile.note
    assert named("Places to new brands", dial=None) is None
    assert named("Places to new brands", dial=[dial_point(0.0)], dial_now=0.7) is None


def test_sales_that_nobody_is_shown_are_counted() -> None:
    reach = material().reach
    assert reach is not None
    some: Reach = replace(reach, shown=np.where(np.arange(40) < 13, 0, 5))
    tile = named("Sales shown to nobody", reach=some)
    assert tile is not None
    assert (tile.figure, tile.note) == ("13", "of 40 on the shelf")
    assert named("Sales shown to nobody", reach=None) is None


def test_chances_are_held_against_what_came_true() -> None:
    value = np.full(10, 0.4, dtype=np.float32)
    found = reliability(value, np.arange(10) < 2)
    tile = named("Promised per one true", reliability=found)
    assert tile is not None
    assert tile.figure == "2.00"
    assert named("Promised per one true", reliability=None) is None


@pytest.mark.parametrize("gone", ["taste", "baselines"])
def test_no_tile_stands_without_what_it_compares(gone: str) -> None:
    whole = report()
    left = {
        name: slices if name in {"random", "popular"} else {}
        for name, slices in whole.scorers.items()
        if name != "taste" or gone == "baselines"
    }
    if gone == "baselines":
        left |= {"taste": whole.scorers["taste"], "random": {}, "popular": {}}
    bare = Report(scorers=left, headline=whole.headline)
    assert not {tile.figure for tile in tiles(material(report=bare))} & {"0.400"}
