"""Each way to give up value, on shops drawn by chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F32, NONE
from recsys.domain.requests import Requests
from recsys.domain.shop import Shop
from recsys.domain.slates import PARTS
from recsys.evaluate.pareto import Placed, Setting
from recsys.evaluate.ways import DIALS, PICKS, PRICES, VARIETIES, WEIGHTS, Ways
from recsys.rerank.desk import Desk
from recsys.rerank.diversity import Mmr, TopK
from recsys.rerank.novelty import is_new
from recsys.rerank.ranker import Ranker
from recsys.rerank.signals import Question
from recsys.rerank.spec import Blend, Pure, Rerank, Spaced
from recsys.rerank.ssd import Ssd
from tests.rerank.hand import asks, drawn_shop, ranker_of, rows_of, slates_of, taste_of, vectors_of

SEEDS = st.integers(0, 2**32 - 1)
DAY = 55.0
PLAIN = Blend(
    novelty=0.7, diversity=TopK(), most_new=0, max_per_brand=0, explore_share=0, fatigue=1.0
)
"""No limit and no chance: only gains decide."""


def tried(
    ranker: Ranker, shop: Shop, requests: Requests, *, taste: F32 | None = None, every: bool = True
) -> Mapping[Setting, Placed]:
    unit = vectors_of(max(shop.num_sales, 1), 3)[requests.shelf(0)]
    scores = taste_of(requests, shop) if taste is None else taste
    ways = Ways(ranker, every=every)
    return dict(ways.shown(shop, requests, rows_of(requests), taste=scores, unit=unit))


def by_way(found: Mapping[Setting, Placed], way: str) -> dict[float, Placed]:
    return {setting.at: placed for setting, placed in found.items() if setting.way == way}


def same(one: Placed, other: Placed) -> bool:
    return np.array_equal(one.sales, other.sales) and np.array_equal(one.appeal, other.appeal)


def new_of(shop: Shop, requests: Requests) -> np.ndarray:
    """Whether each of all sales is new to each member, Bool[n, num_sales]."""
    shelf = requests.shelf(0).astype(np.int64)
    nothing = np.zeros((1, len(shelf)), dtype=np.bool_)
    question = Question(Desk.of(shop), requests, rows_of(requests), shelf[None], nothing)
    new = np.zeros((len(requests), shop.num_sales), dtype=np.bool_)
    new[:, shelf] = is_new(question.days_known)
    return new


def places_to(new: np.ndarray, sales: np.ndarray) -> np.ndarray:
    """Which places hold what is new to the member."""
    rows = np.arange(len(sales))[:, None]
    return np.asarray(new[rows, np.maximum(sales, 0)] & (sales != NONE))


@pytest.mark.parametrize(
    "spec",
    [Blend(), Blend(temperature=0.5, diversity=Ssd()), Spaced(novelty=1.1), Pure(slots=4), PLAIN],
)
def test_what_is_published_is_what_members_get_on_every_curve_that_has_it(spec: Rerank) -> None:
    shop = drawn_shop(4, members=30, sales=20, events=200)
    requests = asks(shop, DAY)
    ranker = ranker_of(spec)
    served = slates_of(ranker, shop, requests)
    appeal = served.parts[:, :, PARTS.index("appeal")]
    found = tried(ranker, shop, requests)
    published = [setting for setting in found if setting.published]
    for setting in published:
        assert same(found[setting], Placed(served.sales, appeal)), setting
    kinds = {"mmr", "dpp", "ssd", "calibrated"} if isinstance(spec, Pure) else set()
    assert {"boost", "picks", *kinds} <= {setting.way for setting in published}
    assert not {"slots", "price"} & {setting.way for setting in published}


def test_the_first_is_the_dial_at_nothing_where_places_and_price_begin_too() -> None:
    shop = drawn_shop(1, members=20, sales=20)
    found = tried(ranker_of(Blend()), shop, asks(shop, DAY))
    first, *_ = found
    assert (first.way, first.at, first.published) == ("boost", 0.0, False)
    for way in ("slots", "price"):
        assert same(by_way(found, way)[0.0], found[first])


def test_every_setting_is_tried_once_and_a_short_trial_has_the_dial_and_places() -> None:
    shop = drawn_shop(2, members=6, sales=15)
    requests = asks(shop, DAY)
    found = tried(ranker_of(Blend(novelty=0.9)), shop, requests)
    assert list(by_way(found, "boost")) == sorted({0.0, 0.9, *DIALS})
    assert list(by_way(found, "slots")) == [0, 1, 2, 3]
    assert list(by_way(found, "price")) == [0, *PRICES]
    assert list(by_way(found, "picks")) == list(PICKS)
    for kind in VARIETIES:
        if kind.kind != "dpp":  # six places are more than five dimensions
            assert list(by_way(found, kind.kind)) == [share * kind.weight for share in WEIGHTS]
    assert not by_way(found, "dpp")
    assert by_way(tried(ranker_of(Blend(slots=4)), shop, requests), "dpp")
    short = tried(ranker_of(Blend(novelty=0.9)), shop, requests, every=False)
    assert list(short) == [setting for setting in found if setting.way in {"boost", "slots"}]


@settings(max_examples=20)
@given(seed=SEEDS, slots=st.integers(1, 8))
def test_kept_places_go_to_the_best_of_what_is_new_and_the_others_stay(
    seed: int, slots: int
) -> None:
    shop = drawn_shop(seed, members=8, sales=20)
    requests = asks(shop, DAY)
    spec = PLAIN.model_copy(update={"slots": slots, "curated_boost": 1.0})
    ranker = ranker_of(spec)
    found = by_way(tried(ranker, shop, requests, every=False), "slots")
    new = new_of(shop, requests)
    value = np.full((len(requests), shop.num_sales), -1.0)
    shelf = requests.shelf(0)
    value[:, shelf] = ranker.value(
        shop, requests, rows_of(requests), taste=taste_of(requests, shop)
    )
    bare = found[0.0].sales
    for kept, placed in found.items():
        stays = slots - int(kept)
        assert np.array_equal(placed.sales[:, :stays], bare[:, :stays])
        for row in range(len(requests)):
            before = set(bare[row, :stays].tolist())
            left = [sale for sale in shelf.tolist() if sale not in before]
            best = sorted(left, key=lambda sale: (~new[row, sale], -value[row, sale]))
            wanted = value[row, best[: int(kept)]]
            chosen = placed.sales[row, stays:]
            np.testing.assert_array_equal(value[row, chosen[chosen != NONE]], wanted)


@settings(max_examples=15)
@given(seed=SEEDS)
def test_more_boost_or_price_shows_no_fewer_new_sales_where_gains_alone_decide(seed: int) -> None:
    shop = drawn_shop(seed, members=10, sales=20)
    requests = asks(shop, DAY)
    spec = PLAIN.model_copy(update={"newness": "strict"})
    found = tried(ranker_of(spec), shop, requests)
    new = new_of(shop, requests)
    for way in ("boost", "price"):
        shown = [placed.sales for placed in by_way(found, way).values()]
        counts = np.stack([places_to(new, sales).sum(axis=1) for sales in shown])
        assert (np.diff(counts, axis=0) >= 0).all(), way


@settings(max_examples=15)
@given(seed=SEEDS, temperature=st.sampled_from([0.0, 1.0]))
def test_no_way_breaks_a_rule_of_slates(seed: int, temperature: float) -> None:
    shop = drawn_shop(seed, members=10, sales=25, brands=4)
    requests = asks(shop, DAY)
    taste = taste_of(requests, shop)
    taste[:, ::3] = np.nan
    spec = Blend(temperature=temperature, explore_share=0.5)
    barred = requests.shelf(0)[::3]
    for setting, placed in tried(ranker_of(spec), shop, requests, taste=taste).items():
        assert not np.isin(placed.sales, barred).any(), setting
        for sales in placed.sales.tolist():
            filled = [sale for sale in sales if sale != NONE]
            brands = [int(shop.brand[sale]) for sale in filled if shop.brand[sale] != NONE]
            assert len(set(filled)) == len(filled), setting
            assert len(set(brands)) == len(brands), setting
        assert (placed.appeal[placed.sales == NONE] == 0).all()


@settings(max_examples=10)
@given(seed=SEEDS, cut=st.integers(1, 11))
def test_slates_do_not_depend_on_who_else_is_asked(seed: int, cut: int) -> None:
    shop = drawn_shop(seed)
    ranker = ranker_of(Blend(temperature=0.3))
    whole = tried(ranker, shop, asks(shop, DAY))
    parts = [tried(ranker, shop, asks(shop, DAY, some)) for some in (range(cut), range(cut, 12))]
    for setting, placed in whole.items():
        sales = np.concatenate([part[setting].sales for part in parts])
        np.testing.assert_array_equal(sales, placed.sales, err_msg=str(setting))


def test_an_empty_shelf_makes_empty_slates() -> None:
    shop = drawn_shop(3, sales=0)
    for placed in tried(ranker_of(Blend()), shop, asks(shop, DAY)).values():
        assert (placed.sales == NONE).all()
        assert not placed.appeal.any()


def test_a_kind_of_someone_else_stands_beside_ours() -> None:
    class Mine(Mmr):
        """Another one's."""

        kind: Literal["mine"] = "mine"  # type: ignore[assignment]  # another word
        weight: float = 0.1

    shop = drawn_shop(5, members=6)
    mine: Any = Mine(weight=0.3)
    ranker = ranker_of(Blend())
    other = replace(ranker, spec=Blend().model_copy(update={"diversity": mine}))
    found = tried(other, shop, asks(shop, DAY))
    assert list(by_way(found, "mine")) == [0.0, 0.05, 0.1, 0.2, 0.3, 0.4]
    assert [one.at for one in found if one.published and one.way == "mine"] == [0.3]
    assert not any(one.published for one in found if one.way == "mmr")
