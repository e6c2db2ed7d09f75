from __future__ import annotations

import numpy as np

from recsys.campaign.slate_log import policy_id
from recsys.domain.slates import PARTS
from recsys.rerank.desk import Desk
from recsys.rerank.spec import Pure
from recsys.rerank.worth import SPREAD, by_price
from tests.rerank.hand import asks, ranker_of, shop_of, slates_of

APPEAL = PARTS.index("appeal")
PRICES = [10.0, 20.0, 40.0, 0.0, float("nan"), 1e6]


def test_worth_is_counted_in_purchases_at_the_median_price() -> None:
    desk = Desk.of(shop_of([], brand=range(6), price=PRICES))
    # the known prices are 10, 20, 40 and a million: their median lies between 20 and 40
    usual = np.sqrt(20 * 40)
    wanted = [10 / usual, 20 / usual, 40 / usual, 1, 1, SPREAD]
    np.testing.assert_allclose(by_price(desk, np.arange(6)), wanted, rtol=1e-5)


def test_a_shop_without_prices_counts_all_alike() -> None:
    desk = Desk.of(shop_of([], brand=range(3)))
    assert (by_price(desk, np.arange(3)) == 1).all()


def test_by_price_the_dearer_of_two_equal_sales_comes_first() -> None:
    shop = shop_of([], brand=range(3), price=[10.0, 20.0, 40.0])
    requests = asks(shop, 1, [0])
    alike = np.zeros((1, 3), dtype=np.float32)
    plain = slates_of(ranker_of(Pure(slots=3)), shop, requests, taste=alike)
    dear = slates_of(ranker_of(Pure(slots=3, worth="price")), shop, requests, taste=alike)
    assert dear.sales.tolist() == [[2, 1, 0]]
    chance = plain.parts[0, 0, APPEAL]
    np.testing.assert_allclose(dear.parts[0, :, APPEAL], chance * np.array([2, 1, 0.5]), rtol=1e-5)


def test_a_policy_by_price_has_another_name() -> None:
    assert policy_id(Pure(), "value") != policy_id(Pure(worth="price"), "value")


def test_the_chance_that_is_told_is_not_changed_by_worth() -> None:
    shop = shop_of([], brand=range(3), price=[10.0, 20.0, 40.0])
    requests = asks(shop, 1, [0])
    taste = np.array([[0.1, 0.2, 0.3]], dtype=np.float32)
    plain, dear = (
        ranker_of(spec).value(shop, requests, requests.rows(0), taste=taste)
        for spec in (Pure(slots=3), Pure(slots=3, worth="price"))
    )
    np.testing.assert_array_equal(plain, dear)
