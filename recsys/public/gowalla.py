"""The fixed Gowalla split in, Tables out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from recsys.domain.schema import Schema
from recsys.domain.tables import Tables
from recsys.domain.ties import uniform
from recsys.public.dated import ZONE, early, midnight
from recsys.public.files import lists, origin, present
from recsys.public.published import Gowalla

FILES = ("train.txt.gz", "test.txt.gz")
VALIDATION = 1
"""Key of the draws that choose for validation."""


def tables(spec: Gowalla) -> Tables:
    """Read the two halves of the split, keep some of the first apart; `spec` holds the protocol.

    Raises:
        SettingError: the files are not there.
    """
    train_path, test_path = present(Path(spec.root), FILES, data=spec.kind)
    train, test = _pairs(train_path), _pairs(test_path)
    validates = uniform(spec.seed, train["member"].to_numpy(), train["sale"].to_numpy(), VALIDATION)
    day = (validates < spec.validation_share).astype(np.int64)
    events = pl.concat([
        train.with_columns(pl.Series("day", day)),
        test.with_columns(day=pl.lit(2, dtype=pl.Int64)),
    ])
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
        watermark=midnight(3),
        task="endless",
        notes=(
            f"{train.height} train pairs and {test.height} test pairs; {origin(test_path)}",
            "no times and no order in the set",
            f"{int(day.sum())} train pairs, drawn by chance (seed {spec.seed}), are validation",
        ),
    )


def _pairs(path: Path) -> pl.DataFrame:
    numbers = pl.col("numbers")
    return (
        lists(path)
        .select(member=numbers.list.first(), sale=numbers.list.slice(1))
        .explode("sale")
        .drop_nulls()
    )
