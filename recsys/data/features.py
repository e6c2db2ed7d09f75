"""The columns that members and sales are described by, and which of them may be used."""

from __future__ import annotations

from typing import assert_never

from recsys.data.rules import Column, Role
from recsys.domain.errors import DataRefusedError
from recsys.domain.schema import (
    Bag,
    Categorical,
    FeatureSpec,
    Instant,
    Numeric,
    Schema,
    Text,
    Vector,
)
from recsys.domain.source import Source


def permitted(schema: Schema, source: Source) -> tuple[Schema, tuple[str, ...]]:
    """Leave out the sensitive columns that `source.sensitive` does not name; say which.

    Raises:
        DataRefusedError: It names a column that is no feature.
    """
    features = (*schema.members, *schema.sales)
    for name in source.sensitive:
        if name not in {feature.column for feature in features}:
            raise DataRefusedError(
                f"data.sensitive names '{name}', which is no column of members or sales",
                f"features are: {', '.join(feature.column for feature in features)}",
            )
    unused = [f.column for f in features if f.sensitive and f.column not in source.sensitive]
    if not unused:
        return schema, ()
    kept = Schema(
        members=tuple(f for f in schema.members if f.column not in unused),
        sales=tuple(f for f in schema.sales if f.column not in unused),
        category=None if schema.category in unused else schema.category,
    )
    note = f"{len(unused)} sensitive columns are not used (data.sensitive names those that are)"
    return kept, (f"{note}: {', '.join(unused)}",)


def columns_of(schema: Schema, table: str) -> tuple[Column, ...]:
    """Return the columns of a table that the schema names, each with the role it is read in."""
    features = {"members": schema.members, "sales": schema.sales}.get(table, ())
    columns = {feature.column: Column(feature.column, _role(feature)) for feature in features}
    if table == "sales" and schema.category is not None:
        columns.setdefault(schema.category, Column(schema.category, "text"))
    return tuple(columns.values())


def _role(feature: FeatureSpec) -> Role:
    match feature:
        case Categorical() | Text():
            return "text"
        case Numeric():
            return "number"
        case Bag():
            return "bag"
        case Vector():
            return "vector"
        case Instant():
            return "time"
        case _:
            assert_never(feature)
