"""Showings in vain, counted by hand and against a plain loop."""

from __future__ import annotations

from dataclasses import replace
from operator import itemgetter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.events import DAY
from recsys.domain.shop import Shop
from recsys.domain.shown import Shown
from recsys.rerank.desk import Desk
from recsys.rerank.fatigue import WINDOW_DAYS, shown_in_vain, tired
from recsys.rerank.signals import Question
from tests.rerank.hand import START, Did, asks, drawn_shop, rows_of, shop_of


def with_shown(shop: Shop, shown: list[tuple[int, int, float]]) -> Shop:
    """Add showings (member, sale, day)."""
    shown = sorted(shown, key=itemgetter(0, 2))
    member, sale, day = (np.array([one[field] for one in shown]) for field in range(3))
    counts = np.bincount(member.astype(np.int64), minlength=shop.num_members)
    return replace(
        shop,
        shown=Shown(
            sale=sale.astype(np.int32),
            at=START + np.round(day * DAY).astype(np.int64),
            member_ptr=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        ),
    )


def question_of(shop: Shop, day: float, members: list[int] | None = None) -> Question:
    requests = asks(shop, day, members)
    sales = requests.shelf(0).astype(np.int64)[None]
    return Question(
        Desk.of(shop), requests, rows_of(requests), sales, np.zeros(sales.shape, dtype=np.bool_)
    )


def test_showings_since_the_last_engagement_with_the_brand_count() -> None:
    done = [Did(0, 1, 20.0), Did(1, 2, 5.0)]
    shop = with_shown(
        shop_of(done, brand=[0, 0, 1]),
        [
            (0, 0, 19.0),  # before the member looked at the brand
            (0, 0, 21.0),
            (0, 1, 22.0),  # the same brand
            (0, 2, 23.0),
            (0, 2, 30.0),  # at the request: not yet
            (1, 2, 1.0),  # more than two weeks ago
            (1, 2, 17.0),
        ],
    )
    assert shown_in_vain(question_of(shop, 30.0, [0, 1, 2]), shop.shown).tolist() == [
        [2, 2, 1],
        [0, 0, 1],
        [0, 0, 0],
    ]
    assert tired(question_of(shop, 30.0, [0]), 0.5).tolist() == [[0.25, 0.25, 0.5]]
    assert tired(question_of(shop, 30.0, [0]), 1.0).tolist() == [[1.0]]
    assert tired(question_of(shop_of(done, brand=[0, 0, 1]), 30.0), 0.5).tolist() == [[1.0]]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), day=st.floats(3, 60))
def test_counts_are_those_of_a_plain_loop_whoever_asks(seed: int, day: float) -> None:
    rng = np.random.default_rng(seed)
    shop = drawn_shop(seed, events=80)
    showings = [
        (int(rng.integers(shop.num_members)), int(rng.integers(15)), float(rng.uniform(0, 60)))
        for _ in range(120)
    ]
    shop = with_shown(shop, showings)
    question = question_of(shop, day)
    found = shown_in_vain(question, shop.shown)
    maker, at = question.desk.maker, int(question.requests.group_at[0])
    history = shop.history
    for member in range(shop.num_members):
        past = slice(history.member_ptr[member], question.requests.history_end[member])
        for column, sale in enumerate(question.sales[0].tolist()):
            same = maker[history.sale[past]] == maker[sale]
            last = history.at[past][same].max(initial=-1)
            mine = slice(shop.shown.member_ptr[member], shop.shown.member_ptr[member + 1])
            when = shop.shown.at[mine][maker[shop.shown.sale[mine]] == maker[sale]]
            late = (when >= at - round(WINDOW_DAYS * DAY)) & (when < at) & (when > last)
            assert found[member, column] == late.sum()
        alone = shown_in_vain(question_of(shop, day, [member]), shop.shown)
        np.testing.assert_array_equal(alone[0], found[member])


def test_exposures_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="exposures of 1 sales at 0 instants"):
        Shown(np.zeros(1, np.int32), np.zeros(0, np.int64), np.array([0, 1]))
