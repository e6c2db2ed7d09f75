"""Value by taste alone: what a ranker falls back to where time is short."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.domain.events import Kind
from recsys.domain.slates import Reason, Slates
from recsys.rerank.fit import fit_ranker
from recsys.rerank.ranker import Ranker, load
from recsys.rerank.signals import NAMES
from recsys.rerank.spec import Blend
from recsys.rerank.value import Logistic, fit_boosted
from tests.rerank.hand import asks, drawn_shop, info_of, ranker_of, rows_of, taste_of, vectors_of
from tests.rerank.test_fit import block, scores

SHOP = drawn_shop(3, sales=15, members=60, events=600)
TASTE = NAMES.index("taste")


def fitted() -> Ranker:
    value, later = (block(SHOP, seed, kind=Kind.PURCHASE) for seed in (1, 2))
    return fit_ranker(Blend(value="logistic"), SHOP, value=value, calibration=later, taste=scores)


def slates_of(ranker: Ranker) -> Slates:
    requests = asks(SHOP, 40)
    taste, unit = taste_of(requests, SHOP), vectors_of(SHOP.num_sales, 3)[requests.shelf(0)]
    return ranker.slates(SHOP, requests, rows_of(requests), taste=taste, unit=unit)


def test_it_is_fitted_beside_the_value_model_and_knows_nothing_but_taste() -> None:
    cheap = fitted().cheaper()
    assert cheap is not None
    model = cheap.value_model.model
    assert isinstance(model, Logistic)
    assert np.flatnonzero(model.weight).tolist() == [TASTE]
    assert model.weight[TASTE] > 0
    assert cheap.label == fitted().label
    assert cheap.median_deviation > 0


def test_its_values_are_chances_that_are_kept_as_any_others() -> None:
    cheap = fitted().cheaper()
    assert cheap is not None
    later = block(SHOP, 3)
    found, happened = 0.0, len(later.target_sale)
    for group in range(later.num_groups):
        rows = later.rows(group)
        found += float(cheap.value(SHOP, later, rows, taste=scores(later, rows)).sum())
    assert found == pytest.approx(happened, rel=0.1)


def test_a_saved_ranker_falls_back_to_the_same_slates(tmp_path: Path) -> None:
    made = fitted()
    made.save(tmp_path / "ranker")
    back = load(tmp_path / "ranker", info_of(SHOP))
    cheap, again = made.cheaper(), back.cheaper()
    assert cheap is not None
    assert again is not None
    for name in Slates.__dataclass_fields__:
        np.testing.assert_array_equal(
            getattr(slates_of(again), name), getattr(slates_of(cheap), name), name
        )


def test_a_ranker_without_it_is_saved_and_has_nothing_to_fall_back_to(tmp_path: Path) -> None:
    plain = ranker_of(Blend(), {"taste": 1.0})
    plain.save(tmp_path / "ranker")
    assert load(tmp_path / "ranker", info_of(SHOP)).cheaper() is None


def test_rules_prices_and_dials_stay() -> None:
    made = fitted().with_novelty(2.0).with_slots(4)
    cheap = made.cheaper()
    assert cheap is not None
    assert cheap.spec == made.spec
    assert cheap.house is made.house


def test_a_desk_for_one_instant_answers_as_one_for_all_does() -> None:
    made = ranker_of(Blend(), dict.fromkeys(("popularity_day", "brand_popularity", "taste"), 0.3))
    requests = asks(SHOP, 40)
    at = int(requests.group_at[0])
    whole, standing = slates_of(made), slates_of(made.standing_at(SHOP, at))
    for name in Slates.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(standing, name), getattr(whole, name), name)


def test_a_desk_for_one_instant_refuses_another() -> None:
    made = ranker_of(Blend(), {"taste": 1.0}).standing_at(SHOP, int(asks(SHOP, 39).group_at[0]))
    with pytest.raises(ValueError, match="asked at"):
        slates_of(made)
    desk = made.desk(SHOP)
    with pytest.raises(ValueError, match="asked at"):
        desk.popularity.counts(np.zeros(1, np.int32), int(asks(SHOP, 39).group_at[0]), 5)


def test_trees_name_what_the_log_odds_lose_most_without() -> None:
    rng = np.random.default_rng(1)
    x = np.zeros((4_000, len(NAMES)), dtype=np.float32)
    looked, crowd = NAMES.index("brand_engaged"), NAMES.index("popularity_day")
    x[:, looked] = rng.integers(0, 2, len(x)) * np.log1p(4.0)
    x[:, crowd] = rng.integers(0, 2, len(x)) * 2.0
    odds = 0.1 + 0.5 * (x[:, looked] > 0) + 0.2 * (x[:, crowd] > 0)
    model = fit_boosted(x, rng.random(len(x)) < odds, trees=20)
    made = ranker_of(Blend(novelty=0.0, curated_boost=1.0), {"taste": 1.0})
    trees = replace(made, value_model=replace(made.value_model, model=model))
    slates = slates_of(trees)
    told = {Reason(code) for code in slates.reason.ravel().tolist()}
    assert Reason.BECAUSE_YOU_LOOKED in told
    assert Reason.FITS_YOUR_TASTE not in told
