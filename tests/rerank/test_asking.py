from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import NONE
from recsys.rerank.asking import _rising, ask, asked_of
from recsys.rerank.desk import Desk
from recsys.rerank.spec import Pure
from tests.rerank.hand import asks, drawn_shop, ranker_of, rows_of, slates_of, taste_of

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, most=st.integers(10, 39), coarse=st.booleans())
def test_on_long_shelves_those_valued_are_picks_then_often_engaged_then_best_liked(
    seed: int, *, most: int, coarse: bool
) -> None:
    shop = drawn_shop(seed, sales=40, members=6, events=60)
    requests = asks(shop, 30)
    taste = taste_of(requests, shop, seed)
    if coarse:
        taste = np.round(taste)
    ranker = ranker_of(Pure(candidates=most))
    valued = ~np.isnan(ranker.value(shop, requests, rows_of(requests), taste=taste))
    assert (valued.sum(axis=1) == most).all()
    history, picked = shop.history, np.isin(np.arange(40), shop.curated_sale)
    for member in range(6):
        past = history.sale[history.member_ptr[member] : requests.history_end[member]]
        often = np.bincount(past, minlength=40)
        rank = list(zip(picked, often, taste[member], strict=True))
        worst = min(rank[s] for s in np.flatnonzero(valued[member]))
        best = max(rank[s] for s in np.flatnonzero(~valued[member]))
        assert worst >= best


def test_a_long_slate_of_a_long_shelf_is_full() -> None:
    shop = drawn_shop(4, sales=40)
    ranker = ranker_of(Pure(candidates=10)).with_slots(25)
    assert (slates_of(ranker, shop, asks(shop, 40)).sales != NONE).all()


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, loud=st.floats(1, 1e30))
def test_who_else_is_asked_does_not_change_what_is_valued(seed: int, loud: float) -> None:
    shop = drawn_shop(seed, sales=40, members=6)
    requests, desk = asks(shop, 30), Desk.of(shop)
    taste = taste_of(requests, shop, seed)
    # steps that vanish beside large numbers
    taste[:5] = taste[:5] * np.float32(1e-6) + np.float32(0.5)
    whole = ask(desk, requests, rows_of(requests), taste=taste, most=10)[1]
    taste[5] *= np.float32(loud)
    beside = ask(desk, requests, rows_of(requests), taste=taste, most=10)[1]
    np.testing.assert_array_equal(beside[:5], whole[:5])


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=20))
def test_keys_of_numbers_rise_as_the_numbers_do(numbers: list[float]) -> None:
    values = np.array(numbers, dtype=np.float32)
    keys = _rising(values)
    np.testing.assert_array_equal(keys[:, None] < keys[None, :], values[:, None] < values[None, :])
    assert ((keys >= 0) & (keys < 2**32)).all()


def test_a_short_shelf_is_asked_about_whole_and_alike_for_all() -> None:
    shop = drawn_shop(1)
    requests = asks(shop, 40)
    taste = taste_of(requests, shop)
    question, columns = ask(Desk.of(shop), requests, rows_of(requests), taste=taste, most=15)
    assert columns.shape == (1, 15)
    assert sorted(question.sales[0].tolist()) == requests.shelf(0).tolist()
    asked = asked_of(question, columns, taste)
    np.testing.assert_array_equal(asked.x[:, :, 0], taste[:, columns[0]])
    np.testing.assert_allclose(asked.typical, asked.x.mean(axis=1), atol=1e-5)
