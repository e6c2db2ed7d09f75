from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F32, F64, I64, NONE
from recsys.domain.events import Kind
from recsys.domain.requests import Requests
from recsys.domain.shop import Shop
from recsys.rerank.desk import Desk, own_keys
from recsys.rerank.signals import NAMES, Question, signals
from tests.rerank.hand import Did, asks, drawn_shop, events_of, rows_of, shop_of, taste_of

SEEDS = st.integers(0, 2**32 - 1)
HAND = shop_of(
    [
        Did(0, 0, 10, Kind.PURCHASE),
        Did(0, 1, 70, Kind.VIEW),
        Did(0, 2, 70, Kind.WAIT_LIST),
        Did(0, 3, 99, Kind.CART),
        Did(1, 3, 69.5, Kind.VIEW),
        Did(0, 0, 70.1, Kind.PURCHASE),
    ],
    brand=[0, 0, 1, NONE, 2],
    category=[0, 1, 1, 0, NONE],
    price=[10, 40, 90, np.nan, 40],
    picked=[2],
)


def question_of(shop: Shop, requests: Requests, sales: I64 | None = None) -> Question:
    shelf = requests.shelf(0).astype(np.int64)[None] if sales is None else sales
    curated = np.isin(shelf, shop.curated_sale)
    return Question(
        desk=Desk.of(shop), requests=requests, rows=rows_of(requests), sales=shelf, curated=curated
    )


def signals_of(shop: Shop, requests: Requests) -> F32:
    return signals(question_of(shop, requests), taste_of(requests, shop))


def told(x: F32, name: str) -> list[list[float]]:
    table: list[list[float]] = np.round(x[:, :, NAMES.index(name)], 5).tolist()
    return table


def test_signals_are_what_one_counts_by_hand() -> None:
    x = signals_of(HAND, asks(HAND, 70.1))
    one, two = np.log1p([1, 2])
    old = 2.0 ** (-60.1 / 60)
    late = 2.0 ** (-0.1 / 60)
    bought = np.log1p(old)
    expected: dict[str, Sequence[float] | F64] = {
        "brand_bought": [bought, bought, 0, 0, 0],
        "brand_engaged": [np.log1p(8 * old + late)] * 2 + [np.log1p(4 * late), 0, 0],
        "category_engaged": [np.log1p(8 * old), *[np.log1p(5 * late)] * 2, np.log1p(8 * old), 0],
        "own_engaged": np.log1p([8, 1, 4, 0, 0]),
        "own_bought": [one, 0, 0, 0, 0],
        "own_recent": np.log1p([8 * old, late, 4 * late, 0, 0]),
        "own_since": np.log1p([60.1, 0.1, 0.1, 365, 365]),
        "price_gap": [np.log(4), 0, np.log(90 / 40), 0, 0],
        "new": [*[1 - 2 ** (-0.1 / 180)] * 3, 1, 1],
        "curated": [0, 0, 1, 0, 0],
        "age": [np.log1p(70.1)] * 5,
        "popularity": [one, one, one, one, 0],
        "popularity_day": [0, one, one, one, 0],
        "brand_popularity": [two, two, one, one, 0],
        "activity": [two] * 5,
        "appetite": [(2 + 13 * 0.3) / (3 + 13)] * 5,
        "recency": [np.log1p(0.1)] * 5,
    }
    for name, row in expected.items():
        assert told(x, name)[0] == pytest.approx(list(row), abs=2e-5), name
    np.testing.assert_array_equal(x[:, :, NAMES.index("taste")], taste_of(asks(HAND, 70.1), HAND))
    assert set(expected) | {"taste"} == set(NAMES)


def test_a_member_without_a_past_has_signals_too() -> None:
    x = signals_of(HAND, asks(HAND, 70.1, [2]))
    for name in ("brand_bought", "own_engaged", "activity", "price_gap"):
        assert not np.any(x[0, :, NAMES.index(name)])
    np.testing.assert_array_equal(x[0, :, NAMES.index("new")], 1)
    for name in ("recency", "own_since"):
        assert told(x, name)[0] == pytest.approx([np.log1p(365)] * 5, abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, day=st.floats(0, 60))
def test_what_happens_later_changes_no_signal(seed: int, day: float) -> None:
    shop = drawn_shop(seed)
    history, at = shop.history, asks(shop, day).group_at[0]
    until = replace(shop, history=history.where(history.at < at))
    if not (until.history.kind == Kind.PURCHASE).any():
        return  # whether a shop records purchases at all is known of the shop, not of a moment
    now, then = signals_of(shop, asks(shop, day)), signals_of(until, asks(until, day))
    np.testing.assert_array_equal(now, then)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, brands=st.sampled_from([0, 4]), categories=st.sampled_from([0, 3]))
def test_signals_do_not_depend_on_who_else_asks(seed: int, brands: int, categories: int) -> None:
    shop = drawn_shop(seed, brands=brands, categories=categories)
    order = np.random.default_rng(seed).permutation(shop.num_members)
    whole = signals_of(shop, asks(shop, 30))
    np.testing.assert_array_equal(signals_of(shop, asks(shop, 30, order.tolist())), whole[order])
    for member in (0, 5):
        alone = signals_of(shop, asks(shop, 30, [member]))
        np.testing.assert_array_equal(alone[0], whole[member])
    assert np.isfinite(whole).all()


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_a_sale_has_the_same_signals_on_a_shelf_of_ones_own(seed: int) -> None:
    shop = drawn_shop(seed, sales=20)
    requests = asks(shop, 40)
    whole = signals(question_of(shop, requests), None)
    own = np.random.default_rng(seed).integers(0, 20, (len(requests), 7))
    some = signals(question_of(shop, requests, own), None)
    np.testing.assert_array_equal(some, np.take_along_axis(whole, own[:, :, None], axis=1))


@pytest.mark.parametrize(
    "shop",
    [
        drawn_shop(1, events=0),
        drawn_shop(1, sales=0),
        drawn_shop(1, sales=1, events=3, members=1),
        drawn_shop(1, brands=0, categories=0),
        drawn_shop(1, kinds=[Kind.VIEW]),
    ],
    ids=["no past", "no sales", "one of each", "no brands", "no purchases"],
)
def test_signals_of_poor_shops_are_finite(shop: Shop) -> None:
    x = signals_of(shop, asks(shop, 30))
    assert x.shape == (shop.num_members, shop.num_sales, len(NAMES))
    assert np.isfinite(x).all()


def test_a_brand_looked_at_is_known_whether_or_not_the_shop_records_purchases() -> None:
    shop = shop_of([Did(0, 0, 1)], brand=[0, 0, 1])
    new = told(signals_of(shop, asks(shop, 1.5)), "new")[0]
    assert new[0] == new[1] < 0.01
    assert new[2] == 1
    sells = shop_of([Did(0, 0, 1), Did(1, 2, 0.5, Kind.PURCHASE)], brand=[0, 0, 1])
    assert told(signals_of(sells, asks(sells, 1.5)), "new")[0] == new


def test_a_group_of_none_is_nobodys_group() -> None:
    keys = own_keys(np.array([3, NONE, 0, NONE, 3]))
    assert len(set(keys.tolist())) == 4
    assert keys[0] == keys[4] == 3


def test_events_stand_in_order_of_member_and_time() -> None:
    made = events_of([Did(1, 0, 3), Did(0, 1, 9), Did(1, 2, 1)], 2)
    assert made.sale.tolist() == [1, 2, 0]
