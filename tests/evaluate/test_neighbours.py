"""Content, ItemKNN and EASE against the formulas written densely."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F64
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY
from recsys.domain.schema import Bag, Categorical, Numeric, Schema, Text
from recsys.evaluate import neighbours
from recsys.evaluate.content import content
from recsys.evaluate.neighbours import Common, ContentKnn, Together
from tests.evaluate.hand import Ask, Did, Sale, Stand, instant, known_by, requests, shop

SALES, MEMBERS = 7, 12


def lived(seed: int) -> Dataset:
    rng = np.random.default_rng(seed)
    did = [
        Did(int(rng.integers(MEMBERS)), int(rng.integers(SALES - 1)), rng.uniform(0, 10))
        for _ in range(rng.integers(1, 60))
    ]
    return shop([Sale("a", "x")] * SALES, did, members=MEMBERS)


def common_of(data: Dataset, *, until: float, most: int = SALES) -> Common:
    return Common.of(known_by(data, until, most=most))


def bought(data: Dataset, until: float) -> F64:
    """Who engaged with what before a day, 0 or 1, [members, sales]."""
    matrix, history = np.zeros((MEMBERS, SALES)), data.history
    early = history.at < instant(until)
    matrix[history.member[early], history.sale[early]] = 1
    return matrix


def dense(common: Common, weights: F64) -> F64:
    """Weights between known sales as weights between all sales."""
    full = np.zeros((SALES, SALES))
    known = np.flatnonzero(common.place >= 0)
    full[np.ix_(known, known)] = weights
    return full


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(1, 10), st.floats(0.5, 300))
def test_ease_is_the_formula_of_its_paper(seed: int, until: float, ridge: float) -> None:
    data = lived(seed)
    common = common_of(data, until=until)
    x = bought(data, until)
    known = x.any(axis=0)
    p = np.linalg.inv(x[:, known].T @ x[:, known] + ridge * np.eye(known.sum()))
    expected = -p / np.diag(p)
    np.fill_diagonal(expected, 0)
    found = common.ease(ridge)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    # scores: the member's past by now against the weights of then, 0 for the unknown
    score = scores_of(data, common, found)
    now = bought(data, 10) * known
    full = dense(common, found.astype(np.float64))
    np.testing.assert_allclose(score, now @ full, atol=1e-4)


def scores_of(data: Dataset, common: Common, weights: object) -> F64:
    asks = [Ask(member, {}) for member in range(MEMBERS)]
    asked = requests(data, [Stand(10, range(SALES))], asks)
    together = Together(data.history, common.place, weights)  # type: ignore[arg-type]  # both kinds
    return together(asked, slice(0, MEMBERS)).astype(np.float64)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.floats(0, 20))
def test_item_knn_is_a_shrunk_cosine(seed: int, keep: int, shrink: float) -> None:
    data = lived(seed)
    common = common_of(data, until=10)
    x = bought(data, 10)[:, common.place >= 0]
    gram = x.T @ x
    size = np.sqrt(np.diag(gram))
    expected = gram / (np.outer(size, size) + shrink)
    np.fill_diagonal(expected, 0)
    found = common.cosine(neighbours=keep, shrink=shrink)
    weights = found.toarray()
    kept = weights > 0
    np.testing.assert_allclose(weights[kept], expected[kept], rtol=1e-5)
    for row, others in zip(weights, expected, strict=True):
        # the strongest stay, whichever of equals
        strongest = np.sort(others)[::-1][:keep]
        np.testing.assert_allclose(
            np.sort(row)[::-1][:keep], strongest[: len(row)], rtol=1e-5, atol=1e-7
        )
        assert (row > 0).sum() <= keep
    full = dense(common, weights.astype(np.float64))
    np.testing.assert_allclose(scores_of(data, common, found), bought(data, 10) @ full, rtol=1e-5)


def test_the_most_popular_are_known_and_the_others_score_nothing() -> None:
    did = [Did(member, sale, 1) for sale in range(4) for member in range(sale + 1)]
    data = shop([Sale("a")] * SALES, did, members=MEMBERS)
    common = common_of(data, until=10, most=2)
    assert common.place.tolist() == [-1, -1, 0, 1, -1, -1, -1]
    np.testing.assert_array_equal(common.gram, [[3, 3], [3, 4]])
    score = scores_of(data, common, common.ease(1.0))
    assert (score[:, common.place < 0] == 0).all()
    assert (score[0, 2:4] > 0).all()


def test_an_engagement_counts_once_however_often() -> None:
    did = [Did(0, 0, day) for day in (1, 2, 3)] + [Did(0, 1, 1)]
    data = shop([Sale("a")] * 2, did)
    common = common_of(data, until=10, most=2)
    np.testing.assert_array_equal(common.gram, np.ones((2, 2)))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = lived(1)

    def made() -> tuple[Common, F64]:
        common = common_of(data, until=10)
        return common, common.cosine(neighbours=3, shrink=1.0).toarray()

    one, weights = made()
    monkeypatch.setattr(neighbours, "BLOCK", 2)
    other, blockwise = made()
    np.testing.assert_array_equal(one.gram, other.gram)
    np.testing.assert_array_equal(weights, blockwise)


def test_a_shop_without_a_past_knows_no_sale() -> None:
    data = shop([Sale("a")] * SALES, members=MEMBERS)
    common = common_of(data, until=10)
    for weights in (common.ease(1.0), common.cosine(neighbours=3, shrink=1.0)):
        assert (scores_of(data, common, weights) == 0).all()


def described() -> Dataset:
    data = shop([Sale("a", "x"), Sale("a", "y"), Sale(None, None), Sale("b", "x", 5)])
    schema = Schema(
        members=(),
        sales=(
            Categorical(column="category"),
            Bag(column="tags"),
            Text(column="title"),
            Numeric(column="price"),
        ),
    )
    more = data.sales.with_columns(
        tags=pl.Series([["s", "t"], ["t"], None, []]),
        title=pl.Series(["Silk gown", "silk, SHIRT!", None, ""]),
        price=pl.Series([1.0, 99.0, None, 1.0]),
    )
    return replace(data, schema=schema, sales=more)


def test_content_is_one_unit_vector_a_sale() -> None:
    vectors = content(described(), instant(10)).toarray()
    np.testing.assert_allclose((vectors**2).sum(axis=1), [1, 1, 0, 1])
    # five fields of length 1 each: brand, category, tags, title, price
    # sales 0 and 1 share the brand, part of the tags and part of the title
    shared = vectors[0] @ vectors[1]
    once, twice = math.log(5 / 1.5), math.log(5 / 2.5)
    part = twice / math.hypot(once, twice)
    words = twice**2 / (twice**2 + once**2)
    assert shared == pytest.approx((1 + part + words) / 5)
    # 3 has the category and the price of 0, and three fields
    assert vectors[0] @ vectors[3] == pytest.approx(2 / math.sqrt(5 * 3))


def test_what_opens_later_decides_no_weight() -> None:
    data = described()
    early = content(data, instant(3)).toarray()
    other = data.sales.with_columns(
        category=pl.Series(["x", "y", None, "z"]),
        price=pl.Series([1.0, 99.0, None, 5e6]),
        tags=pl.Series([["s", "t"], ["t"], None, ["s"]]),
        title=pl.Series(["Silk gown", "silk, SHIRT!", None, "gown"]),
    )
    again = content(replace(data, sales=other), instant(3)).toarray()
    np.testing.assert_allclose(early[:3] @ early[:3].T, again[:3] @ again[:3].T)


def test_a_shop_that_says_nothing_of_its_sales_has_no_content() -> None:
    vectors = content(shop([Sale(None)] * 3), instant(1))
    assert vectors.shape[0] == 3
    assert vectors.nnz == 0


def test_content_knn_is_the_cosine_with_the_decayed_past() -> None:
    did = [Did(0, 0, 1), Did(0, 1, 3)]
    data = shop([Sale("a", "x"), Sale("b", "y"), Sale("a", "y"), Sale("c", "z")], did)
    vectors = content(data, instant(4))
    asked = requests(data, [Stand(5, (0, 2, 3))], [Ask(0, {}), Ask(1, {})])
    knn = ContentKnn(data.history, vectors, 2 * DAY)
    rows = vectors.toarray()
    taste = 2**-2.0 * rows[0] + 2**-1.0 * rows[1]
    found = knn(asked, slice(0, 2))
    np.testing.assert_allclose(found, [rows[[0, 2, 3]] @ taste, np.zeros(3)], rtol=1e-6)
