"""The fixed Gowalla split in, Tables out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from recsys.domain.arrays import I64
from recsys.domain.schema import Schema
from recsys.domain.tables import Tables
from recsys.domain.ties import uniform
from recsys.public.dated import ZONE, dealt, early, midnight
from recsys.public.files import lists, origin, present
from recsys.public.published import Gowalla

FILES = ("train.txt.gz", "test.txt.gz")
VALIDATION = 1
"""Key of the draws that choose for validation."""


def tables(spec: Gowalla) -> Tables:
    """Read the two halves of the split and deal the first over days; `spec` holds the protocol.

    Raises:
        SettingError: the files are not there.
    """
    train_path, test_path = present(Path(spec.root), FILES, data=spec.kind)
    train, test = _pairs(train_path), _pairs(test_path)
    days = _days(train, spec)
    events = pl.concat([
        train.with_columns(pl.Series("day", days)),
        test.with_columns(day=pl.lit(spec.deals + 1, dtype=pl.Int64)),
    ])
    validation = int((days == spec.deals).sum())
    return Tables(
        name=spec.kind,
        zone=ZONE,
        schema=Schema(),
        sales=events.select(
            pl.col("sale").unique().sort().cast(pl.String),
            opens_at=pl.lit(midnight(-2)).dt.cast_time_unit("us"),
        ),
        events=events.select(
            pl.col("member", "sale").cast(pl.String), at=early(pl.col("day")), kind=pl.lit("view")
        ),
        watermark=midnight(spec.deals + 2),
        task="endless",
        notes=(
            f"{train.height} train pairs and {test.height} test pairs; {origin(test_path)}",
            f"no times in the set: the train pairs are dealt by chance (seed {spec.seed})",
            f"{validation} of them to the day of validation, the others over {spec.deals} days",
        ),
    )


def _days(train: pl.DataFrame, spec: Gowalla) -> I64:
    """Return the day of each train pair, I64[p]: 0 to deals - 1, or `deals` for validation."""
    ids = train["member"].to_numpy(), train["sale"].to_numpy()
    validates = uniform(spec.seed, *ids, VALIDATION) < spec.validation_share
    return np.where(validates, spec.deals, dealt(*ids, spec.deals, seed=spec.seed))


def _pairs(path: Path) -> pl.DataFrame:
    numbers = pl.col("numbers")
    return (
        lists(path)
        .select(member=numbers.list.first(), sale=numbers.list.slice(1))
        .explode("sale")
        .drop_nulls()
    )
