from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.domain.errors import BrokenArtefactError
from recsys.domain.report import Estimate
from recsys.evaluate.material import DialPoint
from recsys.evaluate.tradeoff import FILE, KINDS, curves, keep, kept, table
from tests.evaluate.materials import dial_point, rival

CURVES = (rival("boost", 0, 0.7, 1.4, now=0.7), rival("slots", 0, 1), rival("mmr", 0.25, now=0.25))


def test_curves_come_back_as_they_were() -> None:
    rows = table(CURVES)
    assert rows.height == 6
    assert rows["published"].to_list() == [False, True, False, False, False, True]
    back = curves(rows)
    assert [(one.way, one.now) for one in back] == [(one.way, one.now) for one in CURVES]
    assert [list(one.points) for one in back] == [list(one.points) for one in CURVES]


def test_every_figure_has_its_interval_and_what_defines_it() -> None:
    figures = {field.name for field in fields(DialPoint)} - {"dial"}
    assert set(KINDS) == {"way", "setting", "published"} | {
        f"{figure}{end}" for figure in figures for end in ("", "_low", "_high", "_n")
    }
    point = replace(dial_point(2), ild=Estimate(value=0.5, low=0.4, high=0.7, n=3))
    (row,) = table([replace(CURVES[1], points=[point])]).to_dicts()
    assert [row[f"ild{end}"] for end in ("", "_low", "_high", "_n")] == [0.5, 0.4, 0.7, 3]


def test_a_figure_that_nothing_defines_is_kept_as_such() -> None:
    unknown = Estimate(value=np.nan, low=np.nan, high=np.nan, n=0)
    curve = replace(CURVES[1], points=[replace(dial_point(0), ild=unknown)])
    (back,) = curves(table([curve]))
    assert np.isnan(back.points[0].ild.value)
    assert back.points[0].ild.n == 0


def test_a_folder_keeps_the_table(tmp_path: Path) -> None:
    assert kept(tmp_path) is None
    assert keep(CURVES, tmp_path) == tmp_path / FILE
    found = kept(tmp_path)
    assert found is not None
    assert found.equals(table(CURVES))
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_file_that_is_no_such_table_is_named(tmp_path: Path, damage: str) -> None:
    file = keep(CURVES, tmp_path)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:100])
    else:
        pl.read_parquet(file).drop("hits_n").write_parquet(file)
    with pytest.raises(BrokenArtefactError, match=r"pareto.parquet is no table of settings"):
        kept(tmp_path)
