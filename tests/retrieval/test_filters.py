from __future__ import annotations

import numpy as np

from recsys.domain.events import Events
from recsys.domain.shop import Shop
from recsys.domain.shown import Shown
from recsys.retrieval.filters import in_stock, on_shelf, unseen


def a_shop() -> Shop:
    zeros = np.zeros(3, dtype=np.uint8)
    return Shop(
        history=Events(
            sale=np.array([0, 2, 1], dtype=np.int32),
            at=np.array([10, 20, 15], dtype=np.int64),
            kind=zeros + 1,
            channel=zeros,
            flags=zeros,
            value=zeros.astype(np.float32),
            member_ptr=np.array([0, 2, 3], dtype=np.int64),
        ),
        opens_at=np.array([0, 5, 12, 40], dtype=np.int64),
        closes_at=np.array([100, 30, 100, 100], dtype=np.int64),
        brand=np.arange(4, dtype=np.int32),
        category=np.zeros(4, dtype=np.int32),
        price=np.ones(4, dtype=np.float32),
        curated_sale=np.zeros(0, dtype=np.int32),
        curated_from=np.zeros(0, dtype=np.int64),
        curated_until=np.zeros(0, dtype=np.int64),
        stock_sale=np.array([0, 0], dtype=np.int32),
        stock_at=np.array([18, 25], dtype=np.int64),
        stock_left=np.array([0, 5], dtype=np.int64),
        shown=Shown.nothing(2),
    )


def test_the_shelf_mask_is_open_and_in_stock() -> None:
    shop = a_shop()
    assert on_shelf(shop.shelf(20), 4).tolist() == [False, True, True, False]
    assert on_shelf(shop.shelf(50), 4).tolist() == [True, False, True, True]


def test_stock_is_that_of_the_instant() -> None:
    assert in_stock(a_shop(), 20).tolist() == [False, True, True, True]
    assert in_stock(a_shop(), 25).all()


def test_seen_means_engaged_with_strictly_before() -> None:
    shop = a_shop()
    assert unseen(shop, 0, 20).tolist() == [False, True, True, True]
    assert unseen(shop, 0, 21).tolist() == [False, True, False, True]
    assert unseen(shop, 1, 10).all()
