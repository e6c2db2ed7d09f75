from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F32, NONE
from recsys.rerank.calibrated import Calibrated, own_mix
from recsys.rerank.diversity import ShelfView, TopK
from recsys.rerank.policy import SlatePolicy
from tests.rerank.greedy import added_by_hand
from tests.rerank.hand import (
    asks,
    drawn_shop,
    mixes_of,
    no_draws,
    offer_of,
    ranker_of,
    rows_of,
    taste_of,
    vectors_of,
)

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, own=st.booleans())
def test_a_mix_is_the_share_of_each_category_in_what_a_member_engaged_with(
    seed: int, *, own: bool
) -> None:
    rng = np.random.default_rng(seed)
    row, category = np.sort(rng.integers(0, 4, 30)), rng.integers(-1, 5, 30)
    row[row == 2] = 1  # member 2 has no past
    on_shelf = rng.integers(-1, 5, (4 if own else 1, 3))
    place, mix = own_mix(row, category, on_shelf=on_shelf, num=4)
    assert place.shape == on_shelf.shape
    for member in range(4):
        past = category[(row == member) & (category != NONE)]
        here = min(member, len(on_shelf) - 1)
        shares = [
            0.0 if sale == NONE else (past == sale).sum() / max(len(past), 1)
            for sale in on_shelf[here]
        ]
        np.testing.assert_allclose(mix[member, place[here]], shares, atol=1e-6)
    assert not mix[2].any()
    assert not mix[:, -1].any()


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, num=st.integers(0, 4))
def test_a_gain_is_what_brings_the_slate_nearer_to_the_mix(seed: int, num: int) -> None:
    view = offer_of(seed, n=5, c=9).view
    state, chosen = Calibrated().init(view), list(range(num))
    for column in chosen:
        state = Calibrated().update(state, view, np.full(5, column))
    gains = Calibrated().gains(state)
    for member in range(5):
        wanted = [added_by_hand(view, member, chosen, s, Calibrated()) for s in range(num, 9)]
        np.testing.assert_allclose(gains[member, num:], wanted, atol=1e-5)


def test_many_categories_are_summed_alike_for_one_member_and_for_many() -> None:
    category = np.random.default_rng(1).permutation(30)[None]
    view = ShelfView(vectors_of(30)[None], 40, category, mixes_of(1, 40, groups=30))

    def gains(some: ShelfView) -> F32:
        state = Calibrated().init(some)
        for column in range(20):
            state = Calibrated().update(state, some, np.full(some.num_members, column))
        return Calibrated().gains(state)

    whole = gains(view)
    for member in range(40):
        np.testing.assert_array_equal(gains(view.take(np.array([member])))[0], whole[member])


def test_a_member_without_a_past_is_not_pulled() -> None:
    offer = offer_of(4, n=9, c=12)
    pulled = SlatePolicy(6, Calibrated(weight=5.0)).act(offer, no_draws(9, 6))
    plain = SlatePolicy(6, TopK()).act(offer, no_draws(9, 6))
    without = np.arange(9) % 4 == 3
    np.testing.assert_array_equal(pulled.columns[without], plain.columns[without])
    assert not pulled.diversity[without].any()
    assert (pulled.columns[~without] != plain.columns[~without]).any(axis=1).all()


def test_a_strong_pull_mixes_the_slate_as_the_past_is_mixed() -> None:
    offer = offer_of(5, n=2, c=30)
    category = np.arange(30)[None] % 3
    mix = np.array([[0.5, 1 / 3, 1 / 6, 0], [0, 1, 0, 0]], dtype=np.float32)
    view = replace(offer.view, category=category, mix=mix)
    everything = np.ones((2, 30), dtype=np.bool_)
    offer = replace(offer, view=view, category=category, eligible=everything)
    columns = SlatePolicy(6, Calibrated(weight=100.0)).act(offer, no_draws(2, 6)).columns
    counts = [np.bincount(category[0][slate], minlength=3).tolist() for slate in columns]
    assert counts == [[3, 2, 1], [0, 6, 0]]


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_sales_of_no_category_and_of_one_never_met_add_the_same(seed: int) -> None:
    mix = mixes_of(seed, 3)
    mix[:, 1] = 0
    view = ShelfView(vectors_of(4)[None], 3, np.array([[0, 1, 2, NONE]]), mix)
    state = Calibrated().update(Calibrated().init(view), view, np.array([0, 1, 3]))
    gains = Calibrated().gains(state)
    np.testing.assert_array_equal(gains[:, 1], gains[:, 3])
    assert (gains[:, 1] <= gains.max(axis=1)).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_ranker_wants_what_the_past_before_the_request_was_made_of(seed: int) -> None:
    shop = drawn_shop(seed)
    requests = asks(shop, 40)
    ranker, rows = ranker_of(), rows_of(requests)
    asked, offer = ranker.offered(
        shop,
        requests,
        rows,
        taste=taste_of(requests, shop),
        unit=vectors_of(shop.num_sales)[requests.shelf(0)],
    )
    assert offer.view.mix is not None
    assert offer.view.category is offer.category
    history = shop.history
    for member in range(shop.num_members):
        known = slice(int(history.member_ptr[member]), int(requests.history_end[member]))
        past = shop.category[history.sale[known]]
        past = past[past != NONE]
        for column, sale in enumerate(asked.question.sales[0]):
            kind = shop.category[sale]
            share = 0.0 if kind == NONE else (past == kind).sum() / max(len(past), 1)
            wanted = offer.view.mix[member, offer.category[0, column]]
            assert wanted == pytest.approx(share, abs=1e-6)
