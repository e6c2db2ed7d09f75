from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import NONE
from recsys.evaluate.past import known, past
from recsys.evaluate.scene import closed
from recsys.rerank.desk import Desk
from recsys.rerank.novelty import is_new
from recsys.rerank.signals import NAMES, Question, signals
from tests.rerank.hand import asks, drawn_shop, rows_of


@pytest.mark.parametrize("brands", [0, 4])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), day=st.sampled_from([20.0, 61.0, 200.0, 300.0]))
def test_new_is_the_same_to_the_chart_the_judge_the_dial_and_the_value_model(
    brands: int, *, seed: int, day: float
) -> None:
    shop = drawn_shop(seed, brands=brands)
    requests = asks(shop, day)
    rows, shelf = rows_of(requests), requests.shelf(0)
    maker = closed(shop.brand if (shop.brand != NONE).any() else shop.category)
    met = known(past(shop.history, requests, rows), shelf, maker=maker, num=len(requests))
    sales = shelf.astype(np.int64)[None, :]
    question = Question(
        desk=Desk.of(shop), requests=requests, rows=rows, sales=sales,
        curated=np.zeros(sales.shape, dtype=np.bool_),
    )  # fmt: skip
    np.testing.assert_array_equal(~met, is_new(question.days_known))
    signal = signals(question, None)[:, :, NAMES.index("new")]
    np.testing.assert_array_equal(~met, signal >= np.float32(0.5))
    assert met.any() == (day < 240)
