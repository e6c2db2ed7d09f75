"""What the values of a column look like: the kind of feature they make."""

from __future__ import annotations

import re

import polars as pl

from recsys.data.cast import integral, read
from recsys.domain.schema import Bag, Categorical, FeatureSpec, Instant, Numeric, Text, Vector

SAMPLE = 10_000
"""Values looked at; more say nothing new."""
FEW = 20
"""So many distinct whole numbers still read as labels."""
SENSITIVE = re.compile(
    r"income|salary|earning|child|kids|household|health|medical|credit|debt|religio|ethnic|race$"
    r"|politic|sexual|orientation|disab|pregnan",
    re.IGNORECASE,
)
"""Names of columns that stay unused unless a person names them."""


def feature_of(values: pl.Series) -> FeatureSpec:
    """Return the kind of feature that a column's values make, by type and then by content."""
    name = values.name
    sensitive = SENSITIVE.search(name) is not None
    if isinstance(values.dtype, pl.List | pl.Array):
        if values.dtype.inner.is_numeric():
            return Vector(column=name, sensitive=sensitive)
        return Bag(column=name, sensitive=sensitive)
    if is_time(values):
        return Instant(column=name, sensitive=sensitive)
    if is_number(values):
        return Numeric(column=name, sensitive=sensitive, buckets=16)
    if is_prose(values):
        return Text(column=name, sensitive=sensitive)
    return Categorical(column=name, sensitive=sensitive)


def is_time(values: pl.Series) -> bool:
    """Say whether the values are instants; text must be written as ISO 8601."""
    if values.dtype.is_temporal():
        return not isinstance(values.dtype, pl.Time | pl.Duration)
    known = sample(values)
    if values.dtype != pl.String or not known.len():
        return False
    dates = known.str.contains(r"^\d{4}-\d\d-\d\d")
    return bool(dates.all()) and not read(known.head(2), "time", "UTC").lost.any()


def is_number(values: pl.Series) -> bool:
    """Say whether the values measure something: numbers that are no handful of labels."""
    known = sample(values)
    if values.dtype == pl.String:
        known = known.str.strip_chars().cast(pl.Float64, strict=False)
    if not known.dtype.is_numeric() or not known.len() or known.null_count():
        return False
    return known.n_unique() > FEW or not integral(known.cast(pl.Float64))


def is_prose(values: pl.Series) -> bool:
    """Say whether the values are titles or sentences: several words, rarely the same."""
    known = sample(values)
    if values.dtype != pl.String or not known.len():
        return False
    words = known.str.count_matches(r"\S+").mean()
    return isinstance(words, float) and words >= 2 and known.n_unique() > known.len() / 2


def sample(values: pl.Series) -> pl.Series:
    """Return the first values that are there, blanks aside."""
    known = values.drop_nulls()
    if known.dtype == pl.String:
        known = known.filter(known.str.strip_chars().str.len_bytes() > 0)
    return known.head(SAMPLE)
