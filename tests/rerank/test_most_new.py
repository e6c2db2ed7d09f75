"""Members who like little that is new: how many new sales their slates have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import NONE
from recsys.rerank.appetite import Appetite
from recsys.rerank.diversity import Mmr, TopK
from recsys.rerank.novelty import is_new
from recsys.rerank.policy import SlatePolicy
from recsys.rerank.spec import Blend
from recsys.rerank.utility import Parts
from tests.rerank.hand import (
    asks,
    drawn_shop,
    no_draws,
    offer_of,
    ranker_of,
    rows_of,
    slates_of,
    taste_of,
    vectors_of,
)

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, most=st.integers(0, 2), share=st.floats(0.3, 1.0), limit=st.integers(0, 1))
def test_a_slate_has_more_that_is_new_than_it_may_only_where_it_would_else_end(
    seed: int, *, most: int, share: float, limit: int
) -> None:
    rng = np.random.default_rng(seed)
    offer = replace(offer_of(seed, n=10, c=20), pinned=None)
    fresh = rng.random((10, 20)) < share
    limits = np.where(np.arange(10) < 5, most, 99).astype(np.int16)
    limited = replace(offer, fresh=fresh, most_fresh=limits)
    policy = SlatePolicy(6, Mmr(), max_per_brand=limit)
    columns = policy.act(limited, no_draws(10, 6)).columns
    free = policy.act(offer, no_draws(10, 6)).columns
    np.testing.assert_array_equal(columns[5:], free[5:])
    np.testing.assert_array_equal(columns >= 0, free >= 0)
    shown = np.take_along_axis(fresh, np.maximum(columns, 0), 1) & (columns >= 0)
    for row in range(5):
        brands = np.broadcast_to(offer.brand, fresh.shape)[row]
        for slot in np.flatnonzero(shown[row] & (shown[row].cumsum() > most)):
            taken = columns[row, :slot]
            left = offer.eligible[row] & ~fresh[row] & ~np.isin(np.arange(20), taken)
            if limit:
                left &= ~np.isin(brands, brands[taken])
            assert not left.any()


def test_a_pin_is_none_of_the_new_sales_that_a_slate_may_have() -> None:
    offer = offer_of(4, n=6, c=12)
    offer = replace(offer, eligible=np.ones((6, 12), dtype=np.bool_), pinned=None)
    fresh = np.zeros((6, 12), dtype=np.bool_)
    fresh[:, :4] = True
    loud = offer.parts.amounts.copy()
    loud[0][fresh] += 9
    limits = np.ones(6, dtype=np.int16)
    limited = replace(offer, parts=Parts(loud), fresh=fresh, most_fresh=limits)
    for slot in range(3):
        pinned = np.full((6, 3), NONE)
        pinned[:, slot] = 2
        columns = (
            SlatePolicy(3, TopK()).act(replace(limited, pinned=pinned), no_draws(6, 3)).columns
        )
        assert (columns[:, slot] == 2).all()
        assert ((columns < 4).sum(axis=1) == 2).all()


def test_those_who_like_what_is_new_least_get_one_beside_picks() -> None:
    shop = drawn_shop(9, sales=30, events=200)
    requests = asks(shop, 61)
    spec = Blend(novelty=20.0, most_new=1, explore_share=0.0, diversity=TopK())
    ranker = replace(ranker_of(spec), appetite=Appetite(low=2.0))
    slates = slates_of(ranker, shop, requests)
    question = ranker.offered(
        shop,
        requests,
        rows_of(requests),
        taste=taste_of(requests, shop),
        unit=vectors_of(30, 3)[requests.shelf(0)],
    )[0].question
    new = np.zeros((shop.num_members, shop.num_sales), dtype=np.bool_)
    new[:, question.sales[0]] = is_new(question.days_known) & ~question.curated
    shown = np.where(slates.sales != NONE, np.take_along_axis(new, slates.sales, 1), False)
    assert shown.sum(axis=1).max() == 1
    eager = slates_of(replace(ranker, appetite=Appetite(low=0.0)), shop, requests)
    shown = np.where(eager.sales != NONE, np.take_along_axis(new, eager.sales, 1), False)
    assert shown.sum(axis=1).max() > 1
