"""Sales like a sale, a member or a vector; members like a member."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, I64, NONE, Bool
from recsys.domain.candidates import Candidates
from recsys.domain.errors import UnknownMemberError, UnknownSaleError
from recsys.domain.shelf import Shelf
from recsys.retrieval.exact import top_k
from recsys.retrieval.filters import on_shelf
from recsys.retrieval.spec import Exact
from recsys.serve.asked_again import SEARCHING
from recsys.serve.asks import AskSimilar
from recsys.serve.company import nearest
from recsys.serve.parts import BundleParts

LONG = 20_000
"""Sales in an archive of which no search keeps the service from anything else."""
BRIEF = 1 << 26
"""Bytes of vectors (64 MB) that are compared with a query in about 2 ms."""


@dataclass(frozen=True)
class Sought:
    """The nearest in a whole archive, which others can be found together with."""

    query: F32
    """[1, dim]"""
    skip: int
    """Row to leave out, or NONE."""
    k: int

    @property
    def rows(self) -> int:
        """How many rows to look for, that of the sale itself included."""
        return self.k + (self.skip != NONE)


def sought(parts: BundleParts, asked: AskSimilar) -> Sought | None:
    """Return what is looked for where a search for many at once finds the same for each.

    None where not: on the shelf, where sales are filtered, in an approximate index.

    Raises:
        UnknownSaleError, UnknownMemberError: the bundle does not hold it.
        ValueError: not exactly one of the three, another width, or numbers that are not finite.
    """
    whole = asked.scope == "archive" and not asked.brands and not asked.exclude
    if not whole or not isinstance(parts.index.spec, Exact):
        return None
    return Sought(*_query(parts, asked), asked.k)


def nearest_of_all(parts: BundleParts, many: Sequence[Sought]) -> list[Candidates]:
    """Return the nearest rows for each, in one search; all look for as many rows."""
    queries = np.concatenate([one.query for one in many])
    with SEARCHING:
        found = parts.index.search(queries, many[0].rows)
    return [
        _without(found.sales[place], found.scores[place], one) for place, one in enumerate(many)
    ]


def _without(sales: I64, scores: F32, one: Sought) -> Candidates:
    """Drop the sale that was asked about; the last where it was not among the nearest."""
    if one.skip != NONE:
        kept = np.flatnonzero(sales != one.skip)[: one.k]
        sales, scores = sales[kept], scores[kept]
    return Candidates(sales=sales[None], scores=scores[None])


def sales_like(parts: BundleParts, asked: AskSimilar, shelf: Shelf) -> Candidates:
    """Return the k sales nearest to a sale, a member or a vector.

    Raises:
        UnknownSaleError, UnknownMemberError: the bundle does not hold it.
        ValueError: not exactly one of the three, another width, or numbers that are not finite.
    """
    if one := sought(parts, asked):
        return nearest_of_all(parts, [one])[0]
    query, skip = _query(parts, asked)
    is_open = on_shelf(shelf, parts.shop.num_sales)
    allowed = _allowed(parts, asked, is_open, skip=skip)
    if asked.scope == "open":
        return top_k(query, parts.sales.vectors, asked.k, allowed=allowed)
    with SEARCHING:
        return parts.index.search(query, asked.k, allowed=allowed)


def _query(parts: BundleParts, asked: AskSimilar) -> tuple[F32, int]:
    """Return the query F32[1, dim] and the row to leave out."""
    dim, unit = parts.sales.dim, parts.unit_dims
    if (asked.sale is not None) + (asked.member is not None) + (asked.vector is not None) != 1:
        raise ValueError("name exactly one of sale, member, vector")
    if asked.member is not None:
        row = member_row(parts, asked.member)
        if not parts.personalise[row]:
            raise ValueError("the member has not agreed to slates of their own")
        return parts.members.vectors[[row]], NONE
    query = np.zeros((1, dim), dtype=np.float32)
    if asked.sale is not None:
        row = sale_row(parts, asked.sale)
        query[0, :unit] = parts.sales.unit[row]
        return query, row
    vector = np.array(asked.vector, dtype=np.float64)
    if len(vector) not in {dim, unit} or not (np.abs(vector) < 1e18).all():
        raise ValueError(f"a vector has {dim} numbers, or the first {unit}, each below 1e18")
    query[0, : len(vector)] = vector
    return query, NONE


def _allowed(parts: BundleParts, asked: AskSimilar, is_open: Bool, *, skip: int) -> Bool | None:
    if asked.scope == "archive" and not asked.brands and not asked.exclude and skip == NONE:
        return None
    allowed = is_open if asked.scope == "open" else np.ones_like(is_open)
    if asked.brands:
        wanted = parts.info["brand"].is_in(asked.brands).fill_null(value=False)
        allowed = allowed & wanted.to_numpy()
    out = parts.sale_ids.rows(asked.exclude)
    allowed = allowed.copy()
    allowed[out[out != NONE]] = False
    if skip != NONE:
        allowed[skip] = False
    return allowed


def members_like(parts: BundleParts, member: str, k: int) -> tuple[I64, F32]:
    """Return the rows I64[n] and cosines F32[n] of the n <= k members nearest to a member.

    Only members who consent to personal slates are compared, and only for one who does: the
    others get nobody.

    Raises:
        UnknownMemberError: the bundle does not hold the member.
    """
    row = member_row(parts, member)
    if not parts.personalise[row]:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    unit = parts.members.vectors[:, : parts.unit_dims]
    # faiss's settings are process-wide, and where it is not asked nobody needs to wait
    with nullcontext() if parts.company is None else SEARCHING:
        return nearest(unit, row, k, allowed=parts.personalise, made=parts.company)


def member_row(parts: BundleParts, member: str) -> int:
    """Return the row of a member.

    Raises:
        UnknownMemberError: the bundle does not hold the member.
    """
    row = int(parts.member_ids.rows([member])[0])
    if row == NONE:
        raise UnknownMemberError("the member is not in the bundle")
    return row


def sale_row(parts: BundleParts, sale: str) -> int:
    """Return the row of a sale.

    Raises:
        UnknownSaleError: the bundle does not hold the sale.
    """
    row = int(parts.sale_ids.rows([sale])[0])
    if row == NONE:
        raise UnknownSaleError("the sale is not in the bundle")
    return row
