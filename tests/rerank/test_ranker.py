from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import NONE, Bool
from recsys.domain.events import Kind
from recsys.domain.requests import Requests
from recsys.domain.shop import Shop
from recsys.domain.slates import PARTS, Slates
from recsys.rerank.diversity import TopK
from recsys.rerank.ranker import load
from recsys.rerank.signals import NAMES
from recsys.rerank.spec import Blend, Pure, Rerank, Spaced, plan_of
from recsys.rerank.utility import ordered_sum
from tests.rerank.hand import (
    LIKES,
    SLATES,
    SURE,
    asks,
    drawn_shop,
    info_of,
    ranker_of,
    rows_of,
    shop_of,
    slates_of,
    taste_of,
    vectors_of,
)

SEEDS = st.integers(0, 2**32 - 1)
every_slate = pytest.mark.parametrize("spec", SLATES, ids=lambda kind: kind.kind)


def same(one: Slates, two: Slates) -> None:
    for name in ("members", "sales", "parts", "margin", "log_propensity", "reason", "evidence"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), name)


def rows(slates: Slates, order: np.ndarray) -> Slates:
    return Slates(**{name: getattr(slates, name)[order] for name in slates.__dataclass_fields__})


def never_bought(shop: Shop, slates: Slates, requests: Requests) -> Bool:
    """Slots of brands their member never bought before, Bool[m, n], counted one by one."""
    history = shop.history
    new: Bool = slates.sales != NONE
    for row, member in enumerate(slates.members.tolist()):
        past = slice(int(history.member_ptr[member]), int(requests.history_end[row]))
        bought = history.sale[past][history.kind[past] == Kind.PURCHASE]
        brands = set(shop.brand[bought].tolist()) - {NONE}
        for slot, sale in enumerate(slates.sales[row].tolist()):
            known = sale in bought.tolist() or int(shop.brand[sale]) in brands
            new[row, slot] &= not known
    return new


@every_slate
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, temperature=st.sampled_from([0.0, 0.4]), most=st.sampled_from([10, 200]))
def test_slates_are_the_same_for_any_chunks_and_order(
    spec: Rerank, *, seed: int, temperature: float, most: int
) -> None:
    shop = drawn_shop(seed, sales=25)
    spec = spec.model_copy(update={"candidates": most})
    if not isinstance(spec, Pure):
        spec = spec.model_copy(update={"temperature": temperature})
    ranker = ranker_of(spec, kernel=vectors_of(25, 3))
    whole = slates_of(ranker, shop, asks(shop, 40))
    order = np.random.default_rng(seed).permutation(shop.num_members)
    same(slates_of(ranker, shop, asks(shop, 40, order.tolist())), rows(whole, order))
    for some in (order[:1], order[1:4]):
        same(slates_of(ranker, shop, asks(shop, 40, some.tolist())), rows(whole, some))


@pytest.mark.parametrize("spec", SURE, ids=lambda kind: kind.kind)
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, sales=st.integers(0, 30), most=st.sampled_from([10, 200]))
def test_slates_are_full_have_no_repeats_and_parts_that_add_up(
    spec: Rerank, *, seed: int, sales: int, most: int
) -> None:
    shop = drawn_shop(seed, sales=sales)
    spec = spec.model_copy(update={"candidates": most})
    requests = asks(shop, 40)
    slates = slates_of(ranker_of(spec), shop, requests)
    limited = plan_of(spec).max_per_brand == 1
    shelf = requests.shelf(0)
    for row in range(len(slates.members)):
        shown = slates.sales[row][slates.sales[row] != NONE]
        assert set(shown.tolist()) <= set(shelf.tolist())
        assert len(set(shown.tolist())) == len(shown)
        brands = shop.brand[shown][shop.brand[shown] != NONE]
        if limited:
            assert len(set(brands.tolist())) == len(brands)
        elif sales >= 6:
            assert len(shown) == 6
    shown = slates.sales != NONE
    assert not np.any(slates.parts[~shown])
    gain = ordered_sum(np.moveaxis(slates.parts, -1, 0))
    utility = ordered_sum(np.moveaxis(slates.parts[..., :-1], -1, 0))
    np.testing.assert_array_equal(gain, utility + slates.parts[..., -1])
    assert (slates.margin[shown] >= 0).all()
    assert not np.any(slates.log_propensity)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_a_mix_with_every_dial_at_zero_is_pure(seed: int) -> None:
    shop = drawn_shop(seed)
    off = Blend(
        novelty=0.0,
        curated_boost=1.0,
        diversity=TopK(),
        fatigue=1.0,
        most_new=0,
        explore_share=0.0,
        max_per_brand=0,
    )
    spaced = Spaced(**(off.model_dump() | {"kind": "spaced", "apart": 1}))
    pure = slates_of(ranker_of(Pure()), shop, asks(shop, 40))
    for spec in (off, spaced):
        same(slates_of(ranker_of(spec), shop, asks(shop, 40)), pure)


@settings(max_examples=20, deadline=None)
@given(
    seed=SEEDS,
    b=st.floats(0, 3),
    more=st.floats(0, 3),
    most=st.integers(0, 1),
)
def test_more_novelty_never_shows_less_that_is_new(
    seed: int, *, b: float, more: float, most: int
) -> None:
    shop = drawn_shop(seed, events=200)
    requests = asks(shop, 61)
    spec = Blend(
        newness="strict", diversity=TopK(), max_per_brand=most, most_new=0, explore_share=0.0
    )
    ranker = ranker_of(spec)
    before, after = (
        never_bought(shop, slates_of(ranker.with_novelty(dial), shop, requests), requests)
        for dial in (b, b + more)
    )
    assert (after.sum(axis=1) >= before.sum(axis=1)).all()


@pytest.mark.parametrize("spec", [Blend(), Spaced()], ids=lambda kind: kind.kind)
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, boost=st.floats(1.25, 4))
def test_a_larger_boost_never_shows_an_editors_pick_to_fewer(
    spec: Rerank, *, seed: int, boost: float
) -> None:
    shop = drawn_shop(seed)
    pick = int(np.random.default_rng(seed).integers(0, shop.num_sales))
    # one pick alone: a boost for several may let them push each other out
    shop = replace(
        shop,
        curated_sale=np.array([pick], dtype=np.int32),
        curated_from=shop.opens_at[:1],
        curated_until=shop.closes_at[:1],
    )
    shown = [
        (slates_of(ranker_of(now), shop, asks(shop, 40)).sales == pick).any(axis=1)
        for now in (spec, spec.model_copy(update={"curated_boost": boost}))
    ]
    assert (shown[1] | ~shown[0]).all()


@every_slate
@pytest.mark.parametrize(
    "shop",
    [
        drawn_shop(1, events=0),
        drawn_shop(1, sales=0),
        drawn_shop(1, sales=1, events=3, members=1),
        drawn_shop(1, brands=0, categories=0),
        drawn_shop(1, brands=0),
        drawn_shop(1, kinds=[Kind.VIEW]),
    ],
    ids=["no past", "no sales", "one of each", "no groups", "no brands", "no purchases"],
)
def test_poor_shops_get_slates_too(spec: Rerank, shop: Shop) -> None:
    ranker = ranker_of(spec, kernel=vectors_of(max(shop.num_sales, 1)))
    slates = slates_of(ranker, shop, asks(shop, 40))
    assert slates.sales.shape == (shop.num_members, 6)
    counts = (slates.sales != NONE).sum(axis=1)
    limit = len(set(shop.brand.tolist())) if (shop.brand != NONE).any() else shop.num_sales
    assert (counts >= min(6, shop.num_sales, limit)).all()
    assert np.isfinite(slates.parts).all()


@every_slate
def test_a_sale_without_a_finite_taste_is_never_shown(spec: Rerank) -> None:
    shop = drawn_shop(4, sales=30)
    requests = asks(shop, 40)
    for most in (10, 200):
        ranker = ranker_of(spec.model_copy(update={"candidates": most}))
        taste = taste_of(requests, shop)
        taste[:, ::3], taste[:, 1], taste[:, 2] = np.nan, -np.inf, np.inf
        bare = slates_of(ranker, shop, requests, taste=taste)
        barred = np.isin(bare.sales, [*range(0, 30, 3), 1, 2])
        assert not barred.any()
        assert (bare.sales[:, 0] != NONE).all()
        assert np.isfinite(bare.parts).all()
        value = ranker.value(shop, requests, rows_of(requests), taste=taste)
        assert np.isnan(value[:, [0, 1, 2, 3]]).all()
        nothing = np.full_like(taste, np.nan)
        assert (slates_of(ranker, shop, requests, taste=nothing).sales == NONE).all()


@every_slate
def test_a_saved_ranker_makes_the_same_slates(spec: Rerank, tmp_path: Path) -> None:
    shop, kernel = drawn_shop(2), vectors_of(15)
    ranker = ranker_of(spec.model_copy(update={"slots": 4}), kernel=kernel)
    ranker.save(tmp_path / "ranker")
    back = load(tmp_path / "ranker", info_of(shop)).with_kernel(kernel)
    assert back.spec == ranker.spec
    same(slates_of(back, shop, asks(shop, 40)), slates_of(ranker, shop, asks(shop, 40)))
    assert {path.suffix for path in (tmp_path / "ranker").iterdir()} == {
        ".json",
        ".npy",
        ".parquet",
    }


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, sale=st.integers(0, 14))
def test_values_are_calibrated_chances_of_the_whole_shelf(seed: int, sale: int) -> None:
    shop = drawn_shop(seed)
    requests = asks(shop, 40)
    taste = taste_of(requests, shop)
    ranker = ranker_of(Pure(), {"taste": 1.5})
    value = ranker.value(shop, requests, rows_of(requests), taste=taste)
    np.testing.assert_allclose(
        value, 1 / (1 + np.exp(3 - 1.5 * taste.astype(np.float64))), rtol=1e-5
    )
    best = slates_of(ranker, shop, requests).sales
    np.testing.assert_array_equal(best[:, 0], requests.shelf(0)[taste.argmax(axis=1)])
    more = taste.copy()
    more[:, sale] += 1
    shown = (slates_of(ranker, shop, requests, taste=more).sales == sale).any(axis=1)
    assert (shown | ~(best == sale).any(axis=1)).all()


def test_equal_sales_stand_in_an_order_that_changes_from_day_to_day() -> None:
    shop = shop_of([], brand=list(range(12)), members=1)
    even = np.zeros((1, 12), dtype=np.float32)
    ranker = ranker_of(Pure(slots=12))
    first, again, later = (
        slates_of(ranker, shop, asks(shop, day), taste=even).sales[0].tolist()
        for day in (3, 3.2, 4)
    )
    assert sorted(first) == list(range(12))
    assert first == again
    assert first not in ([*range(12)], later)


def test_slates_drawn_log_the_chance_the_policy_gives_them() -> None:
    shop = drawn_shop(6)
    requests = asks(shop, 40)
    ranker = ranker_of(Blend(temperature=0.8))
    slates = slates_of(ranker, shop, requests)
    assert (slates.log_propensity[slates.sales != NONE] < 0).any()
    asked, offer = ranker.offered(
        shop,
        requests,
        rows_of(requests),
        taste=taste_of(requests, shop),
        unit=vectors_of(15, 3)[requests.shelf(0)],
    )
    column = np.full(shop.num_sales + 1, NONE)
    column[asked.question.sales[0]] = np.arange(15)
    again = ranker.policy.log_prob(offer, column[slates.sales])
    np.testing.assert_array_equal(again, slates.log_propensity)


def test_two_shops_asked_in_turn_do_not_mix() -> None:
    one, two = drawn_shop(1), drawn_shop(2)
    ranker = ranker_of()
    first = slates_of(ranker, one, asks(one, 40))
    slates_of(ranker, two, asks(two, 40))
    same(slates_of(ranker.with_novelty(0.7), one, asks(one, 40)), first)
    assert ranker.desk(two).shop is two


def test_the_parts_are_named_in_the_order_they_are_added() -> None:
    assert PARTS == ("appeal", "fatigue", "editor", "novelty", "floor", "cap", "diversity")
    assert set(LIKES) <= set(NAMES)
