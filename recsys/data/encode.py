"""Members and sales in, hashed bags and standardised numbers out (MODEL 2.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

import numpy as np
import polars as pl

from recsys.data.bags import NO_CELLS, Cells, text_cells, value_cells
from recsys.data.columns import EVERYONE, Plain, member_columns, sale_columns
from recsys.data.encoders import Column, Encoders, load, save
from recsys.data.hashing import MISSING, Hasher, table_row
from recsys.data.rarity import Rarity
from recsys.data.scales import Scale, Whitening
from recsys.domain.arrays import F32, I64, Bool
from recsys.domain.dataset import Dataset
from recsys.domain.encoded import Encoded, Features
from recsys.domain.schema import Bag, Categorical, Numeric, Text, Vector

__all__ = ["encode", "fit", "load", "save"]


def fit(dataset: Dataset, until: int, table_bits: int = 18) -> Encoders:
    """Measure edges, means, whitening, rarity on sales opened, members joined before `until`.

    `until` is the end of the towers' block (UTC us); members without a date count as known.
    """
    joined = dataset.members["joined_at"].cast(pl.Datetime("us", "UTC")).dt.timestamp("us")
    return Encoders(
        members=_fitted(
            *member_columns(dataset),
            side="member",
            training=joined.fill_null(until - 1).to_numpy() < until,
            named={EVERYONE, *(feature.column for feature in dataset.schema.members)},
            hasher=Hasher(table_bits),
        ),
        sales=_fitted(
            *sale_columns(dataset),
            side="sale",
            training=dataset.opens_at < until,
            named={feature.column for feature in dataset.schema.sales},
            hasher=Hasher(table_bits),
        ),
        table_bits=table_bits,
    )


def _fitted(
    frame: pl.DataFrame,
    features: tuple[Plain, ...],
    *,
    side: str,
    training: Bool,
    named: set[str],
    hasher: Hasher,
) -> tuple[Column, ...]:
    """Fit what the schema names, and of all else (derived columns, cycles) what varies."""
    common = [feature.column for feature in features if feature.column not in named]
    values = frame.filter(pl.Series(training)).select(pl.col(common).n_unique())
    varies = {column: values[column].item() > 1 for column in common}
    return tuple(
        _fit(frame[feature.column], Column(side, feature), training=training, hasher=hasher)
        for feature in features
        if varies.get(feature.column, True)
    )


def _fit(values: pl.Series, column: Column, *, training: Bool, hasher: Hasher) -> Column:
    seen = values.filter(pl.Series(training))
    match column.feature:
        case Numeric() as feature:
            return replace(column, scale=Scale.fit(feature, seen))
        case Vector(dim=dim):
            return replace(column, whitening=Whitening.fit(_known_vectors(seen)[1], dim))
        case Bag() | Text():
            return replace(column, rarity=Rarity.fit(_cells(seen, column, hasher), len(seen)))
        case Categorical():
            return column
        case _:
            assert_never(column.feature)


def encode(encoders: Encoders, dataset: Dataset) -> Encoded:
    """Turn all members and sales of a dataset into numbers; values never seen hash like others."""
    hasher = Hasher(encoders.table_bits)
    members = _features(member_columns(dataset)[0], encoders.members, hasher)
    sales = _features(sale_columns(dataset)[0], encoders.sales, hasher)
    return Encoded(
        members=members,
        sales=sales,
        table_rows=1 << encoders.table_bits,
        collision_share=hasher.collision_share(),
        fingerprint=encoders.fingerprint,
    )


def _features(frame: pl.DataFrame, columns: tuple[Column, ...], hasher: Hasher) -> Features:
    cells = [
        NO_CELLS,
        *(_weighed(frame[column.feature.column], column, hasher) for column in columns),
    ]
    dense = [_dense(frame[column.feature.column], column) for column in columns]
    entity = np.concatenate([field.entity for field in cells])
    order = np.argsort(entity, kind="stable")
    # NO_CELLS stands before the first field
    fields = np.repeat(np.arange(-1, len(columns)), [len(field.entity) for field in cells])
    counts = np.bincount(entity, minlength=frame.height)
    return Features(
        ptr=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        row=np.concatenate([field.row for field in cells])[order],
        field=fields[order].astype(np.int16),
        weight=np.concatenate([field.weight for field in cells])[order],
        fields=tuple(column.field for column in columns),
        missing_row=np.array(
            [table_row(column.field, MISSING, hasher.bits) for column in columns], dtype=np.int32
        ),
        dense=np.concatenate([np.zeros((frame.height, 0), dtype=np.float32), *dense], axis=1),
        dense_names=tuple(
            name
            for column, block in zip(columns, dense, strict=True)
            for name in _names(column.field, block.shape[1])
        ),
    )


def _weighed(values: pl.Series, column: Column, hasher: Hasher) -> Cells:
    cells = _cells(values, column, hasher)
    return cells if column.rarity is None else column.rarity.weigh(cells)


def _cells(values: pl.Series, column: Column, hasher: Hasher) -> Cells:
    field = column.field
    match column.feature:
        case Categorical() | Bag():
            return value_cells(values, column.salt, field=field, hasher=hasher)
        case Text(ngrams=grams):
            return text_cells(values, field, grams=grams, hasher=hasher)
        case Numeric():
            return value_cells(_buckets(values, column), field, field=field, hasher=hasher)
        case Vector():
            return value_cells(_presence(values), field, field=field, hasher=hasher)
        case _:
            assert_never(column.feature)


def _buckets(values: pl.Series, column: Column) -> pl.Series:
    """Name each number's bucket (or that it is known); null where it is not."""
    scale = column.measured_scale
    known = pl.Series(scale.known(values))
    names = pl.Series(scale.bucket(values)).cast(pl.String)
    return pl.select(pl.when(known).then(names)).to_series()


def _presence(values: pl.Series) -> pl.Series:
    rows, _ = _known_vectors(values)
    known = np.zeros(len(values), dtype=np.bool_)
    known[rows] = True
    return pl.select(pl.when(pl.Series(known)).then(pl.lit("known"))).to_series()


def _dense(values: pl.Series, column: Column) -> F32:
    match column.feature:
        case Numeric():
            return column.measured_scale.dense(values)[:, None]
        case Vector():
            whitening = column.measured_whitening
            rows, known = _known_vectors(values)
            dense = np.zeros((len(values), whitening.matrix.shape[1]), dtype=np.float32)
            if len(rows):
                dense[rows] = whitening(known)
            return dense
        case Categorical() | Bag() | Text():
            return np.zeros((len(values), 0), dtype=np.float32)
        case _:
            assert_never(column.feature)


def _known_vectors(values: pl.Series) -> tuple[I64, F32]:
    """Return the rows I64[k] whose vector is known and finite, and these vectors F32[k, d]."""
    rows = np.flatnonzero(values.is_not_null().to_numpy())
    flat = values.drop_nulls().explode().cast(pl.Float32).fill_null(np.nan).to_numpy()
    vectors = flat.reshape(len(rows), -1) if len(rows) else np.zeros((0, 1), dtype=np.float32)
    finite = np.isfinite(vectors).all(axis=1)
    return rows[finite], vectors[finite]


def _names(field: str, width: int) -> tuple[str, ...]:
    return (field,) if width == 1 else tuple(f"{field}.{place}" for place in range(width))
