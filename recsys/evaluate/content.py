"""What sales say about themselves, as sparse unit vectors that no model has learned."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from scipy import sparse

from recsys.domain.arrays import F64
from recsys.domain.dataset import Dataset
from recsys.domain.schema import Bag, Categorical, FeatureSpec, Numeric, Text

BUCKETS = 10
"""Quantile buckets of a number."""


def content(dataset: Dataset, until: int) -> sparse.csr_array:
    """Return one row per sale, [num_sales, words], of length 1 (0 where nothing is known).

    Brand, categories, bags, words of texts and buckets of numbers; each field has length 1 before
    they are joined, each value weighs log(sales / sales that share it). What weighs how much, and
    the buckets, come from sales that opened before `until` (UTC us). Vectors and instants stay out.
    """
    known = int(np.searchsorted(dataset.opens_at, until))
    fields = [_field(cells, dataset.num_sales, known) for cells in _fields(dataset, known)]
    if not fields:
        return sparse.csr_array((dataset.num_sales, 1))
    return unit(sparse.hstack(fields, format="csr"))


def unit(rows: sparse.csr_array) -> sparse.csr_array:
    """Scale each row of [n, d] to length 1; empty rows stay empty."""
    length = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    scale: F64 = np.divide(1.0, length, out=np.zeros(len(length)), where=length > 0)
    return sparse.csr_array(sparse.diags_array(scale) @ rows)


def _fields(dataset: Dataset, known: int) -> Iterator[pl.DataFrame]:
    """Yield (row, token) frames of each field."""
    sales = dataset.sales.with_row_index("row")
    yield sales.select("row", token=pl.col("brand"))
    for feature in dataset.schema.sales:
        token = _token(feature, sales, known)
        if token is not None:
            yield sales.select("row", token=token).explode("token")


def _token(feature: FeatureSpec, sales: pl.DataFrame, known: int) -> pl.Expr | None:
    column = pl.col(feature.column)
    match feature:
        case Categorical():
            return pl.concat_list(column.cast(pl.String))
        case Bag():
            return column.cast(pl.List(pl.String))
        case Text():
            return column.str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]+")
        case Numeric():
            values = sales[feature.column].head(known).cast(pl.Float64).drop_nulls()
            cuts = [values.quantile(b / BUCKETS) for b in range(1, BUCKETS)] if len(values) else []
            edges = sorted({cut for cut in cuts if cut is not None})
            value = column.cast(pl.Float64)
            bucket = pl.sum_horizontal(pl.lit(0), *(value > edge for edge in edges))
            return pl.concat_list(pl.when(value.is_not_null()).then(bucket.cast(pl.String)))
        case _:
            return None


def _field(cells: pl.DataFrame, num_sales: int, known: int) -> sparse.csr_array:
    cells = cells.drop_nulls().unique().sort("row", "token")
    row = cells["row"].to_numpy().astype(np.int64)
    token = cells["token"].rank("dense").to_numpy().astype(np.int64) - 1
    width = int(token.max()) + 1 if len(token) else 0
    sharing = np.bincount(token[row < known], minlength=width)
    weight = np.log((known + 1) / (sharing + 0.5)).clip(0.05)
    return unit(
        sparse.csr_array((weight[token], (row, token)), shape=(num_sales, width), dtype=np.float64)
    )
