"""Names that promises use in, the sales and the members they stand for out."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
import polars as pl

from recsys.domain.arrays import I16, NONE, Bool
from recsys.domain.errors import SettingError
from recsys.domain.prices import Groups
from recsys.domain.shelf import Shelf

CURATED = "curated"
KINDS = ("sale", "brand", "category")
"""Columns by whose values a group may be named: brand=Acme."""


def groups_of(names: Sequence[str], shelf: Shelf, info: pl.DataFrame) -> Groups:
    """Return the sets of a shelf's sales that names stand for, one a distinct name.

    `curated`, or `sale=ID`, `brand=NAME`, `category=NAME`; `info` has a row for every sale of the
    shop and these columns. A name that the shop knows may stand for no sale of this shelf.

    Raises:
        SettingError: a name is of another form, or the shop knows no such sale, brand, category.
    """
    distinct = tuple(dict.fromkeys(names))
    here = info[pl.Series(shelf.sales)]
    holds = [_holds(name, shelf, here, info=info) for name in distinct]
    empty = np.zeros((0, len(shelf)), dtype=np.bool_)
    return Groups(
        sales=shelf.sales.astype(np.int64),
        names=distinct,
        holds=np.stack(holds) if holds else empty,
    )


def _holds(name: str, shelf: Shelf, here: pl.DataFrame, *, info: pl.DataFrame) -> Bool:
    if name == CURATED:
        return shelf.curated
    kind, _, value = name.partition("=")
    if kind not in KINDS or not value:
        raise SettingError(
            f"no group of sales is called {name!r}",
            f"possible: {CURATED}, " + ", ".join(f"{one}=..." for one in KINDS),
        )
    known = info[kind].cast(pl.String)
    if not (known == value).any():
        near = get_close_matches(value, known.drop_nulls().unique().to_list(), n=3, cutoff=0.5)
        raise SettingError(
            f"the group {name!r} has no sale: no {kind} is called {value!r}",
            f"near: {', '.join(near)}" if near else f"the shop has {known.n_unique()} of them",
        )
    found: Bool = (here[kind].cast(pl.String) == value).fill_null(value=False).to_numpy()
    return found


def segments_of(names: Sequence[str], members: pl.DataFrame) -> I16:
    """Return the first segment that each member is in, I16[m]: its row in `names`, or NONE.

    A segment is named by a column of the members' table: `tier=gold`.

    Raises:
        SettingError: no such column or value.
    """
    segment = np.full(members.height, NONE, dtype=np.int16)
    for row in range(len(names) - 1, -1, -1):
        column, _, value = names[row].partition("=")
        if column not in members.columns or not value:
            raise SettingError(
                f"no segment of members is called {names[row]!r}",
                f"possible: COLUMN=VALUE, with a column of {', '.join(members.columns)}",
            )
        of = (members[column].cast(pl.String) == value).fill_null(value=False).to_numpy()
        if not of.any():
            values = members[column].cast(pl.String).drop_nulls().unique().sort().to_list()
            raise SettingError(
                f"the segment {names[row]!r} has no member", f"values: {', '.join(values[:8])}"
            )
        segment[of] = row
    return segment
