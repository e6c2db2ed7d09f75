"""Baselines that count: what each scores on three events, and that none looks ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F32, F64
from recsys.domain.dataset import Dataset
from recsys.domain.events import HOUR, Kind
from recsys.domain.requests import Requests
from recsys.evaluate.baselines import baselines
from recsys.evaluate.learned import NEEDS
from recsys.evaluate.spec import Baselines, Evaluate
from tests.evaluate.hand import Ask, Did, Sale, Stand, instant, requests, shop

SALES = [
    Sale("a", "x", 0),
    Sale("b", "y", 1),
    Sale("a", "y", 2),
    Sale("c", "y", 2.5),
    Sale(None, None, 2.5),
]
DID = [
    Did(0, 0, 1, Kind.PURCHASE),
    Did(0, 1, 2, Kind.CART),
    Did(1, 1, 9, Kind.VIEW),
]
"""The half-life is 2 days; the request comes on day 10."""
SPEC = Evaluate(half_life_days=2.0, seed=3)
AT = 10


def asked(data: Dataset, *members: int) -> Requests:
    stand = Stand(AT, range(len(SALES)), curated=(1,))
    return requests(data, [stand], [Ask(member, {}) for member in members])


def scores(name: Baselines, did: Sequence[Did] = DID, *, fit: float = AT) -> F32:
    """Of the baseline for members 0, 1 and 2."""
    data = shop(SALES, did)
    what = asked(data, 0, 1, 2)
    spec = SPEC.model_copy(update={"baselines": (name,)})
    return baselines(data, what, instant(fit), spec=spec)[name].scorer(what, slice(0, 3))


def close(found: F32, *rows: Sequence[float] | F64) -> None:
    np.testing.assert_allclose(found, np.array(rows), atol=1e-6)


def test_newest_first() -> None:
    close(scores("newest"), *[[0, 1, 2, 3, 3]] * 3)


def test_an_editors_picks_come_before_all_that_is_newer() -> None:
    close(scores("editor"), *[[0, 6, 2, 3, 3]] * 3)


def test_popular_counts_engagements_before_the_request() -> None:
    close(scores("popular"), *[[1, 2, 0, 0, 0]] * 3)


def test_popular_of_a_week_forgets_the_older() -> None:
    close(scores("popular_7d"), *[[0, 1, 0, 0, 0]] * 3)


def test_a_brand_is_as_popular_as_all_its_sales() -> None:
    close(scores("brand_popular"), *[[1, 2, 1, 0, 0]] * 3)


def test_a_category_is_as_popular_as_all_its_sales() -> None:
    close(scores("category_popular"), *[[1, 2, 2, 2, 0]] * 3)


def test_a_liking_for_a_brand_halves_with_each_half_life() -> None:
    # purchase 8 at age 9, cart 4 at age 8, view 1 at age 1; ties by brand popularity / 1000
    bought, put, seen = 8 * 2**-4.5, 4 * 2**-4.0, 2**-0.5
    ties = np.array([1, 2, 1, 0, 0]) / 2 / 1000
    close(
        scores("brand_affinity"),
        np.array([bought, put, bought, 0, 0]) + ties,
        np.array([0, seen, 0, 0, 0]) + ties,
        ties,
    )


def test_a_sale_without_a_brand_is_not_liked_for_another_one() -> None:
    did = [*DID, Did(2, 4, 9)]
    found = scores("brand_affinity", did)[2]
    assert found[4] < 1e-3
    assert found[4] == found.max() / 2


def test_own_counts_know_the_very_sale() -> None:
    bought, put, seen = 8 * 2**-4.5, 4 * 2**-4.0, 2**-0.5
    ties = np.array([1, 2, 0, 0, 0]) / 2 / 1000
    close(
        scores("own_counts"),
        np.array([bought, put, 0, 0, 0]) + ties,
        np.array([0, seen, 0, 0, 0]) + ties,
        ties,
    )


def test_random_is_random_and_the_same_again() -> None:
    found = scores("random")
    np.testing.assert_array_equal(found, scores("random"))
    assert len(np.unique(found)) == found.size
    data = shop([Sale("a")] * 2_000)
    what = requests(data, [Stand(1, range(2_000))], [Ask(0, {})])
    spread = baselines(data, what, instant(1), spec=SPEC.model_copy(update={"baselines": ()}))
    luck = spread["random"].scorer(what, slice(0, 1))
    assert abs(luck.mean() - 0.5) < 3.3 / np.sqrt(12 * 2_000)


def test_only_what_is_asked_for_is_fitted_beside_random_and_popular() -> None:
    data = shop(SALES, DID)
    spec = SPEC.model_copy(update={"baselines": ("newest",)})
    found = baselines(data, asked(data, 0), instant(AT), spec=spec)
    assert found.keys() == {"random", "popular", "newest"}
    assert all(one.seconds >= 0 for one in found.values())


def test_a_quick_shop_has_popularity_of_the_last_hours() -> None:
    did = [Did(0, 0, 10 - hours / 24) for hours in (0.5, 2, 23)]
    data = shop(SALES, did)
    quick = replace(asked(data, 0, 1), outcome_us=3 * HOUR)
    found = baselines(data, quick, instant(AT), spec=SPEC)
    for hours, count in ((1, 1), (3, 2), (24, 3)):
        score = found[f"popular_{hours}h"].scorer(quick, slice(0, 2))
        close(score, *[[count, 0, 0, 0, 0]] * 2)


@pytest.mark.parametrize("outcome_us", [1, 3 * HOUR + 1])
def test_other_shops_have_none_of_the_last_hours(outcome_us: int) -> None:
    # 1: a basket's outcome is the engagement itself, which tells nothing of how long one takes
    data = shop(SALES, DID)
    what = replace(asked(data, 0), outcome_us=outcome_us)
    found = baselines(data, what, instant(AT), spec=SPEC)
    assert not any(name.endswith("h") for name in found)


def later(seed: int) -> list[Did]:
    """Engagements at or after the request."""
    rng = np.random.default_rng(seed)
    kinds = (Kind.VIEW, Kind.CART, Kind.PURCHASE)
    return [
        Did(int(rng.integers(3)), int(rng.integers(5)), AT + day, kinds[rng.integers(3)])
        for day in [0.0, *rng.uniform(0, 5, 6)]
    ]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_what_happens_from_the_request_on_changes_no_score(seed: int) -> None:
    before, after = shop(SALES, DID), shop(SALES, [*DID, *later(seed)])
    old = baselines(before, asked(before, 0, 1, 2), instant(AT), spec=SPEC)
    new = baselines(after, asked(after, 0, 1, 2), instant(AT), spec=SPEC)
    assert old.keys() == new.keys() >= {"content_knn", "item_knn", "ease", "own_counts"}
    for name in old:
        np.testing.assert_array_equal(
            old[name].scorer(asked(before, 0, 1, 2), slice(0, 3)),
            new[name].scorer(asked(after, 0, 1, 2), slice(0, 3)),
            err_msg=name,
        )


def test_requests_of_one_shelf_at_different_instants_know_different_pasts() -> None:
    data = shop(SALES, DID)
    asks = [Ask(0, {}, at=1.5), Ask(0, {}, at=2.5), Ask(1, {}, at=9.5)]
    what = requests(data, [Stand(AT, range(5))], asks)
    found = baselines(data, what, instant(AT), spec=SPEC)
    close(
        found["popular"].scorer(what, slice(0, 3)),
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 2, 0, 0, 0],
    )
    own = found["own_counts"].scorer(what, slice(0, 3))
    np.testing.assert_allclose(own[0], [8 * 2**-0.25 + 1e-3, 0, 0, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("name", sorted({*Evaluate().baselines} - NEEDS.keys()))
def test_the_scores_of_some_rows_are_rows_of_the_scores_of_all(name: Baselines) -> None:
    data = shop(SALES, DID)
    what = asked(data, 0, 1, 2)
    scorer = baselines(data, what, instant(AT), spec=SPEC)[name].scorer
    both = scorer(what, slice(0, 3))
    assert both.shape == (3, 5)
    assert both.dtype == np.float32
    np.testing.assert_array_equal(scorer(what, slice(1, 3)), both[1:])


def test_a_shop_without_any_event_has_baselines_too() -> None:
    data = shop(SALES)
    what = asked(data, 0, 1)
    for name, one in baselines(data, what, instant(AT), spec=SPEC).items():
        assert np.isfinite(one.scorer(what, slice(0, 2))).all(), name
