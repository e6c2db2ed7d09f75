from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.domain.arrays import F32, I32, NONE
from recsys.domain.events import DAY, Kind
from recsys.domain.requests import Requests
from recsys.domain.shop import Shop
from recsys.evaluate.reliability import (
    Foretold,
    by_stratum,
    foretold,
    ratio,
    reliability,
    wilson,
)
from recsys.rerank.fit import outcomes
from recsys.rerank.spec import Blend
from tests.rerank.hand import asks, drawn_shop, ranker_of, taste_of, vectors_of


def test_bins_of_equal_mass_by_rising_prediction() -> None:
    value = np.array([0.4, 0.1, 0.3, 0.2], dtype=np.float32)
    happened = np.array([True, False, True, False])
    found = reliability(value, happened, bins=2)
    np.testing.assert_allclose(found.predicted, [0.15, 0.35], rtol=1e-6)
    np.testing.assert_array_equal(found.rate, [0, 1])
    np.testing.assert_array_equal(found.n, [2, 2])
    assert found.ratio == pytest.approx(1 / 2)
    assert found.error == pytest.approx((0.15 + 0.65) / 2)


def test_an_interval_after_wilson() -> None:
    # 1 of 10: centre (0.1 + z^2/20) / (1 + z^2/10)
    low, high = wilson(np.array([0.1]), np.array([10]))
    assert (low[0], high[0]) == pytest.approx((0.01788, 0.40415), abs=1e-4)
    low, high = wilson(np.array([0.0, 1.0]), np.array([10, 10]))
    assert low[0] == 0
    assert high[1] == pytest.approx(1)
    assert 0 < high[0] < 1


def test_fewer_rows_than_bins_make_fewer_bins() -> None:
    found = reliability(np.array([0.2, 0.1, 0.3], dtype=np.float32), np.array([True, False, True]))
    np.testing.assert_array_equal(found.n, [1, 1, 1])
    np.testing.assert_array_equal(found.rate, [0, 1, 1])


def test_no_outcome_defines_no_ratio() -> None:
    assert math.isnan(reliability(np.ones(3, dtype=np.float32), np.zeros(3, dtype=bool)).ratio)


@pytest.mark.parametrize(("values", "outcomes"), [(0, 0), (2, 3)])
def test_nothing_to_compare_is_refused(values: int, outcomes: int) -> None:
    with pytest.raises(ValueError, match=f"{values} predictions for {outcomes} outcomes"):
        reliability(np.ones(values, dtype=np.float32), np.zeros(outcomes, dtype=np.bool_))


@given(st.integers(1, 200), st.integers(1, 12), st.integers(0, 1000))
def test_bins_hold_every_row_once(rows: int, bins: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    value = rng.random(rows).astype(np.float32)
    happened = rng.random(rows) < 0.4
    found = reliability(value, happened, bins=bins)
    assert len(found.n) == min(bins, rows)
    assert found.n.sum() == rows
    assert found.n.max() - found.n.min() <= 1
    assert (np.diff(found.predicted) >= 0).all()
    assert found.rate @ found.n == pytest.approx(happened.sum())
    assert found.predicted @ found.n == pytest.approx(value.sum(dtype=np.float64))
    assert (found.low <= found.rate + 1e-12).all()
    assert (found.rate <= found.high + 1e-12).all()
    assert 0 <= found.error <= 1


def test_chances_that_are_right_are_found_right() -> None:
    rng = np.random.default_rng(0)
    value = rng.beta(1, 9, 40_000).astype(np.float32)
    found = reliability(value, rng.random(40_000) < value)
    # of the standard error of the sum: 3.3 is passed 999 times in 1,000
    error = math.sqrt(float((value * (1 - value)).sum())) / float(value.sum())
    assert abs(1 / found.ratio - 1) < 3.3 * error
    assert (np.abs(found.rate - found.predicted) < 4.2 * np.sqrt(found.rate / found.n)).all()


def pairs(num: int, seed: int, *, off: float = 1.0) -> Foretold:
    """Chances that are `off` times the truth, of 200 members and 40 sales."""
    rng = np.random.default_rng(seed)
    truth = rng.beta(1, 9, num)
    return Foretold(
        value=(off * truth).astype(np.float32),
        outcome=rng.random(num) < truth,
        member=rng.integers(0, 200, num).astype(np.int32),
        sale=rng.integers(0, 40, num).astype(np.int32),
        new=rng.random(num) < 0.7,
        chosen=rng.random(num) < 0.1,
    )


def test_a_ratio_of_its_whole_is_the_sum_of_chances_over_that_of_outcomes() -> None:
    value = np.array([0.5, 0.25, 0.5], dtype=np.float32)
    happened = np.array([True, False, True])
    # each member alone has the same ratio, so no draw can have another
    found = ratio(value, happened, by=np.array([7, 9, 7], dtype=np.int32))
    assert found.value == pytest.approx(0.625)
    assert found.n == 2
    assert found.low <= found.value <= found.high
    one = ratio(value[[0, 2]], happened[[0, 2]], by=np.array([1, 2], dtype=np.int32))
    assert one.value == pytest.approx(0.5)
    assert (one.low, one.high) == (one.value, one.value)


def test_without_an_outcome_there_is_no_ratio() -> None:
    none = ratio(np.ones(2, np.float32), np.zeros(2, np.bool_), by=np.arange(2, dtype=np.int32))
    assert math.isnan(none.value)
    assert none.n == 0


@pytest.mark.parametrize(("off", "right"), [(1.0, True), (1.3, False)])
def test_intervals_hold_what_is_right_and_not_what_is_a_third_off(off: float, right: bool) -> None:
    found = {(one.name, one.rows): one for one in by_stratum(pairs(40_000, 3, off=off))}
    assert [*found] == [
        (name, rows) for name in ("all", "known_brand", "new_brand") for rows in ("all", "chosen")
    ]
    for one in found.values():
        for interval in (one.ratio, one.by_sale):
            assert (0.97 * interval.low <= 1 <= 1.03 * interval.high) == right
            assert interval.value == pytest.approx(one.bins.ratio, rel=1e-6)
    assert found["all", "all"].entropy < 1


def test_outcomes_that_come_by_whole_sales_widen_the_interval_by_sale_alone() -> None:
    one = pairs(40_000, 4)
    luck = np.random.default_rng(5).lognormal(-0.125, 0.5, 40)[one.sale]
    lucky = np.random.default_rng(6).random(40_000) < one.value * luck
    whole = by_stratum(replace(one, outcome=lucky))[0]
    assert whole.by_sale.high - whole.by_sale.low > 2 * (whole.ratio.high - whole.ratio.low)


def test_a_stratum_in_which_nothing_happened_is_left_out() -> None:
    one = pairs(2_000, 1)
    left = by_stratum(replace(one, outcome=one.outcome & one.new, chosen=one.chosen & ~one.new))
    assert [(part.name, part.rows) for part in left] == [("all", "all"), ("new_brand", "all")]


def test_one_right_chance_for_all_has_the_entropy_of_the_rate() -> None:
    one = pairs(5_000, 2)
    even = np.full(5_000, one.outcome.mean(), dtype=np.float32)
    whole = by_stratum(replace(one, value=even))[0]
    assert whole.entropy == pytest.approx(1)
    rate = float(one.outcome.mean())
    assert whole.loss == pytest.approx(-rate * np.log(rate) - (1 - rate) * np.log(1 - rate))


def happened_to(shop: Shop, seed: int) -> Requests:
    """All members before the whole shelf, each with one outcome or two."""
    requests = asks(shop, 61)
    rng, shelf = np.random.default_rng(seed), requests.shelf(0)
    count = rng.integers(1, 3, len(requests))
    sales = [np.sort(rng.choice(shelf, size=size, replace=False)) for size in count.tolist()]
    return replace(
        requests,
        target_ptr=np.concatenate(([0], np.cumsum(count))),
        target_sale=np.concatenate(sales).astype(np.int32),
        target_kind=np.full(count.sum(), Kind.PURCHASE, dtype=np.uint8),
        target_weight=np.ones(count.sum(), dtype=np.float32),
        outcome_us=3 * DAY,
    )


def test_what_was_foretold_is_the_rankers_value_of_each_sale_that_may_be_shown() -> None:
    shop = drawn_shop(3)
    requests, vectors = happened_to(shop, 1), vectors_of(shop.num_sales)
    shelf, rows = requests.shelf(0), requests.rows(0)
    taste: F32 = taste_of(requests, shop)
    taste[2, 4] = np.nan
    ranker = ranker_of(Blend(explore_share=1.0, explore_below=10_000))

    def unit_of(sales: I32) -> F32:
        return vectors[sales]

    found = foretold(ranker, shop, requests, taste=lambda _, part: taste[part], unit_of=unit_of)
    place = np.searchsorted(shelf, found.sale)
    row = np.searchsorted(requests.member, found.member)
    assert len(found.value) == taste.size - 1
    assert not ((row == 2) & (place == 4)).any()
    value = ranker.value(shop, requests, rows, taste=taste)
    np.testing.assert_array_equal(found.value, value[row, place])
    happened = outcomes(requests, rows, purchases=True)
    np.testing.assert_array_equal(found.outcome, happened[row, place])
    # nobody explores here, whatever the settings say
    sure = ranker_of(Blend(explore_share=0.0))
    slates = sure.slates(shop, requests, rows, taste=taste, unit=vectors[shelf])
    shown = (slates.sales[row] == found.sale[:, None]).any(axis=1)
    np.testing.assert_array_equal(found.chosen, shown)
    assert found.chosen.sum() == (slates.sales != NONE).sum()
    assert 0 < found.new.mean() < 1
    # a chance stays one where purchases count by their price
    by_price = ranker_of(Blend(explore_share=1.0, explore_below=10_000, worth="price"))
    again = foretold(by_price, shop, requests, taste=lambda _, part: taste[part], unit_of=unit_of)
    np.testing.assert_array_equal(again.value, found.value)


def test_no_request_foretells_nothing() -> None:
    shop = drawn_shop(3)
    nobody = asks(shop, 61).take(np.zeros(0, dtype=np.int64))
    with pytest.raises(ValueError, match="no requests"):
        foretold(
            ranker_of(),
            shop,
            nobody,
            taste=lambda _, rows: np.zeros((rows.stop - rows.start, 1), np.float32),
            unit_of=lambda sales: vectors_of(len(sales)),
        )
