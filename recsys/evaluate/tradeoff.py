"""What each way to give up value costs, as a table: a run's folder and a bundle keep it.

One row a setting: way, setting, published, and of each figure of `DialPoint` its value, the ends of
its 95 % interval (_low, _high) and how many slates define it (_n).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import polars as pl

from recsys.domain.errors import BrokenArtefactError
from recsys.domain.report import Estimate
from recsys.evaluate.material import DialCurve, DialPoint

FILE = "pareto.parquet"
FIGURES = tuple(field.name for field in fields(DialPoint) if field.name != "dial")
KINDS = {
    "way": pl.String(),
    "setting": pl.Float64(),
    "published": pl.Boolean(),
    **{
        f"{figure}{end}": pl.Int64() if end == "_n" else pl.Float64()
        for figure in FIGURES
        for end in ("", "_low", "_high", "_n")
    },
}
"""Column -> type, in their order."""


def table(curves: Sequence[DialCurve]) -> pl.DataFrame:
    """Return the rows of some curves, in their order."""
    rows = [
        {"way": curve.way, "setting": point.dial, "published": point.dial == curve.now}
        | {
            f"{figure}{end}": getattr(getattr(point, figure), name)
            for figure in FIGURES
            for end, name in (("", "value"), ("_low", "low"), ("_high", "high"), ("_n", "n"))
        }
        for curve in curves
        for point in curve.points
    ]
    return pl.DataFrame(rows, schema=KINDS)


def curves(rows: pl.DataFrame) -> tuple[DialCurve, ...]:
    """Return the curves that a table holds.

    Raises:
        ValueError: its columns are others.
    """
    if dict(rows.schema) != KINDS:
        raise ValueError(f"a table of settings has {list(KINDS)[:4]} ..., not {rows.columns[:4]}")
    return tuple(
        DialCurve(
            way=str(way),
            points=tuple(map(_point, some.to_dicts())),
            now=next(iter(some.filter("published")["setting"]), None),
        )
        for (way,), some in rows.group_by("way", maintain_order=True)
    )


def _point(row: dict[str, float]) -> DialPoint:
    return DialPoint(
        row["setting"],
        *(
            Estimate(
                value=row[figure],
                low=row[f"{figure}_low"],
                high=row[f"{figure}_high"],
                n=int(row[f"{figure}_n"]),
            )
            for figure in FIGURES
        ),
    )


def without_published(rows: pl.DataFrame, way: str) -> pl.DataFrame:
    """Return the table with no setting of a way marked as published."""
    return rows.with_columns(pl.col("published") & (pl.col("way") != way))


def keep(curves: Sequence[DialCurve], folder: Path) -> Path:
    """Write the table into a run's folder, by rename, and return its file."""
    file = folder / FILE
    draft = file.with_suffix(".draft")
    table(curves).write_parquet(draft)
    draft.replace(file)
    return file


def kept(folder: Path) -> pl.DataFrame | None:
    """Read the table of a run's folder; None where the run has none.

    Raises:
        BrokenArtefactError: the file is no such table.
    """
    file = folder / FILE
    if not file.exists():
        return None
    try:
        rows = pl.read_parquet(file)
        curves(rows)
    except (pl.exceptions.PolarsError, ValueError) as broken:
        raise BrokenArtefactError(
            f"{file} is no table of settings: {str(broken).splitlines()[0]}",
            f"make it again: recsys pareto run={folder}",
        ) from broken
    return rows
