from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import NONE
from recsys.domain.events import Kind
from recsys.domain.requests import Requests
from recsys.domain.shop import Shop
from recsys.domain.slates import PARTS, Reason, Slates
from recsys.rerank.asking import Asked
from recsys.rerank.diversity import TopK
from recsys.rerank.offer import Offer
from recsys.rerank.ranker import Ranker
from recsys.rerank.reasons import ALIKE, sentence
from recsys.rerank.signals import NAMES
from recsys.rerank.spec import Blend, Pure
from recsys.rerank.utility import Parts
from tests.rerank.hand import (
    SURE,
    Did,
    asks,
    drawn_shop,
    no_draws,
    ranker_of,
    rows_of,
    shop_of,
    taste_of,
    vectors_of,
)

SEEDS = st.integers(0, 2**32 - 1)
EVERYTHING = {
    "taste": 0.8,
    "brand_bought": 0.9,
    "brand_engaged": 0.5,
    "own_engaged": 0.6,
    "popularity_day": 0.4,
    "new": -0.3,
}
STRANGE = {
    "own_engaged": 0.0,
    "own_bought": 0.0,
    "own_recent": 0.0,
    "own_since": np.log1p(365),
}
BACKWARDS = dict.fromkeys(EVERYTHING, -0.5)
DECISIVE = {
    Reason.NEW_TO_YOU: "novelty",
    Reason.EDITOR_BOOST: "editor",
    Reason.CURATOR_PICK: "editor",
    Reason.CURATOR_PICK_NEW_TO_YOU: "editor",
}


def made(ranker: Ranker, shop: Shop, requests: Requests) -> tuple[Slates, Asked, Offer]:
    """Slates, and the question and the offer they were made of."""
    taste, unit = taste_of(requests, shop), vectors_of(shop.num_sales, 3)[requests.shelf(0)]
    slates = ranker.slates(shop, requests, rows_of(requests), taste=taste, unit=unit)
    return slates, *ranker.offered(shop, requests, rows_of(requests), taste=taste, unit=unit)


def slots(slates: Slates) -> list[tuple[int, int, Reason, int, int]]:
    """(row, slot, reason, sale, evidence) of each slot that is filled."""
    return [
        (
            int(row),
            int(slot),
            Reason(int(slates.reason[row, slot])),
            int(slates.sales[row, slot]),
            int(slates.evidence[row, slot]),
        )
        for row, slot in zip(*np.nonzero(slates.sales != NONE), strict=True)
    ]


def told(slates: Slates) -> set[Reason]:
    return {reason for _, _, reason, _, _ in slots(slates)}


@pytest.mark.parametrize("spec", SURE, ids=lambda kind: kind.kind)
@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, day=st.floats(5, 60), brands=st.sampled_from([0, 5]))
def test_evidence_lies_in_the_members_past_and_says_what_the_reason_says(
    spec: Pure | Blend, *, seed: int, day: float, brands: int
) -> None:
    shop, kernel = drawn_shop(seed, brands=brands, events=150), vectors_of(15, 3)
    requests = asks(shop, day)
    slates, asked, _ = made(ranker_of(spec, EVERYTHING, kernel), shop, requests)
    maker, history = asked.question.desk.maker, shop.history
    for row, _, reason, sale, evidence in slots(slates):
        past = slice(history.member_ptr[slates.members[row]], requests.history_end[row])
        assert (history.at[past] < requests.at[row]).all()
        sales, kinds = history.sale[past].astype(np.int64), history.kind[past]
        bought = sales[kinds == Kind.PURCHASE]
        assert evidence == NONE or evidence in sales
        facts = {
            Reason.NOTHING: True,
            Reason.CURATOR_PICK: sale in shop.curated_sale,
            Reason.CURATOR_PICK_NEW_TO_YOU: len(sales) > 0 and maker[sale] not in maker[sales],
            Reason.NEW_TO_YOU: len(sales) > 0 and maker[sale] not in maker[sales],
            Reason.BECAUSE_YOU_BOUGHT: evidence in bought and maker[evidence] == maker[sale],
            Reason.BECAUSE_YOU_LOOKED: maker[evidence] == maker[sale],
            Reason.ON_YOUR_WAIT_LIST: sale in sales[kinds == Kind.WAIT_LIST],
            Reason.BOUGHT_BEFORE: sale in sales[kinds == Kind.PURCHASE],
            Reason.SIMILAR_TO: evidence != sale and kernel[evidence] @ kernel[sale] >= ALIKE - 1e-6,
            Reason.POPULAR_NOW: True,
            Reason.FITS_YOUR_TASTE: len(sales) > 0,
        }
        assert facts[reason], reason
        points = {Reason.BECAUSE_YOU_BOUGHT, Reason.BECAUSE_YOU_LOOKED, Reason.SIMILAR_TO}
        assert (evidence != NONE) == (reason in points)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, novelty=st.floats(0, 2), boost=st.floats(1, 3))
def test_without_its_decisive_part_a_sale_loses_its_slot(
    seed: int, *, novelty: float, boost: float
) -> None:
    shop = drawn_shop(seed, sales=20)
    ranker = ranker_of(Blend(novelty=novelty, curated_boost=boost, explore_share=0.0))
    requests = asks(shop, 40)
    slates, asked, offer = made(ranker, shop, requests)
    column = np.zeros(shop.num_sales, dtype=np.int64)
    column[asked.question.sales[0]] = np.arange(asked.question.sales.shape[1])
    for row, slot, reason, sale, _ in slots(slates):
        if reason not in DECISIVE:
            continue
        amounts = offer.parts.amounts.copy()
        part = PARTS.index(DECISIVE[reason])
        if reason in {Reason.CURATOR_PICK, Reason.CURATOR_PICK_NEW_TO_YOU}:
            assert sale in shop.curated_sale
        if reason is Reason.CURATOR_PICK and amounts[part, row, column[sale]] > 0:
            # where nothing else is known, the editor is named though the sale would have won
            decisive = amounts[part, row, column[sale]] > 1.001 * slates.margin[row, slot]
            if not decisive:
                continue
        amounts[part, row, column[sale]] = 0
        less = replace(offer, parts=Parts(amounts=amounts))
        picks = ranker.policy.act(less, no_draws(len(requests), 6)).columns
        assert picks[row, slot] != column[sale]


@pytest.mark.parametrize("weights", [EVERYTHING, BACKWARDS], ids=["likes", "backwards"])
@settings(max_examples=12, deadline=None)
@given(seed=SEEDS)
def test_without_its_evidence_a_sale_would_be_worth_less(
    weights: dict[str, float], *, seed: int
) -> None:
    shop = drawn_shop(seed, events=150)
    ranker = ranker_of(Pure(), weights, vectors_of(15, 3))
    requests = asks(shop, 59)
    slates, asked, _ = made(ranker, shop, requests)
    column = np.zeros(shop.num_sales, dtype=np.int64)
    column[asked.question.sales[0]] = np.arange(15)
    without = {
        Reason.BECAUSE_YOU_BOUGHT: {"brand_bought": 0.0, "new": 1.0},
        Reason.BECAUSE_YOU_LOOKED: {"brand_engaged": 0.0, "new": 1.0},
        Reason.ON_YOUR_WAIT_LIST: STRANGE,
        Reason.BOUGHT_BEFORE: STRANGE,
    }
    for row, _, reason, sale, _ in slots(slates):
        x = asked.x[row, column[sale]]
        if reason in {Reason.POPULAR_NOW, Reason.FITS_YOUR_TASTE, Reason.SIMILAR_TO}:
            signal = "popularity_day" if reason is Reason.POPULAR_NOW else "taste"
            usual = asked.x[row, :, NAMES.index(signal)].mean()
            assert x[NAMES.index(signal)] > usual - 1e-6
            changed = {signal: float(usual)}
        else:
            changed = without.get(reason, {})
        poorer = x.copy()
        for signal, amount in changed.items():
            poorer[NAMES.index(signal)] = amount
        both = ranker.value_model.model.predict(np.stack([poorer, x]))
        assert both[0] < both[1] or not changed


def test_a_value_that_falls_with_a_signal_never_cites_it() -> None:
    shop = drawn_shop(3, events=150)
    slates, _, _ = made(ranker_of(Pure(), BACKWARDS, vectors_of(15, 3)), shop, asks(shop, 59))
    assert told(slates) <= {Reason.NOTHING, Reason.BECAUSE_YOU_BOUGHT}


def test_each_reason_has_its_case() -> None:
    bought = shop_of([Did(0, 0, 1, Kind.PURCHASE)], brand=[0, 0, 1, 2], picked=[3])
    flat = {"brand_bought": 3.0}
    one = ranker_of(Pure(slots=2), flat)
    slates = made(one, bought, asks(bought, 2, [0]))[0]
    assert slates.reason[0].tolist() == [Reason.BECAUSE_YOU_BOUGHT] * 2
    assert slates.evidence[0].tolist() == [0, 0]
    looked = shop_of([Did(0, 0, 1), Did(1, 3, 1, Kind.PURCHASE)], brand=[0, 0, 1, 2])
    slates = made(ranker_of(Pure(slots=1), {"brand_engaged": 3.0}), looked, asks(looked, 2, [0]))[0]
    assert told(slates) == {Reason.BECAUSE_YOU_LOOKED}
    listed = shop_of([Did(0, 2, 1, Kind.WAIT_LIST)], brand=[0, 0, 1, 2])
    slates = made(ranker_of(Pure(slots=1), {"own_engaged": 3.0}), listed, asks(listed, 2, [0]))[0]
    assert (slates.sales[0, 0], told(slates)) == (2, {Reason.ON_YOUR_WAIT_LIST})
    often = ranker_of(Pure(slots=1), {"own_recent": 3.0})
    slates = made(often, bought, asks(bought, 2, [0]))[0]
    assert (slates.sales[0, 0], told(slates)) == (0, {Reason.BOUGHT_BEFORE})
    crowd = shop_of([Did(m, 1, 1.5) for m in (1, 2)], brand=[0, 0, 1, 2])
    slates = made(ranker_of(Pure(slots=1), {"popularity_day": 3.0}), crowd, asks(crowd, 2, [0]))[0]
    assert (slates.sales[0, 0], told(slates)) == (1, {Reason.POPULAR_NOW})
    slates = made(ranker_of(Pure(slots=1), {"taste": 3.0}), bought, asks(bought, 2, [0]))[0]
    assert told(slates) == {Reason.FITS_YOUR_TASTE}
    slates = made(ranker_of(Pure(slots=1), {"taste": 3.0}), bought, asks(bought, 2, [1]))[0]
    assert told(slates) == {Reason.NOTHING}
    mixed = Blend(slots=1, diversity=TopK(), curated_boost=2.0, novelty=0.0, explore_share=0.0)
    slates = made(ranker_of(mixed, {"curated": -0.2}), bought, asks(bought, 2, [0]))[0]
    assert (slates.sales[0, 0], told(slates)) == (3, {Reason.CURATOR_PICK_NEW_TO_YOU})
    mixed = Blend(slots=1, diversity=TopK(), curated_boost=1.0, novelty=1.0, explore_share=0.0)
    known = shop_of([Did(0, 0, 1, Kind.PURCHASE)], brand=[0, 0, 0, 1])
    slates = made(ranker_of(mixed, {"new": -0.2}), known, asks(known, 2, [0]))[0]
    assert (slates.sales[0, 0], told(slates)) == (3, {Reason.NEW_TO_YOU})


def test_to_a_member_without_a_past_no_brand_is_called_new() -> None:
    shop = shop_of([Did(0, 0, 1)], brand=[0, 1, 2, 3], picked=[3])
    ranker = ranker_of(Blend(slots=4, diversity=TopK(), curated_boost=1.01, novelty=2.0), {})
    fresh = {Reason.NEW_TO_YOU, Reason.CURATOR_PICK_NEW_TO_YOU}
    assert told(made(ranker, shop, asks(shop, 2, [0]))[0]) & fresh
    stranger = made(ranker, shop, asks(shop, 2, [1]))[0]
    assert not told(stranger) & fresh
    assert (3, Reason.CURATOR_PICK) in {(sale, why) for _, _, why, sale, _ in slots(stranger)}


def test_a_pick_of_an_editor_that_nothing_else_explains_says_so() -> None:
    shop = shop_of([Did(0, 0, 1)], brand=[0, 1], picked=[0, 1])
    pure, mixed = Pure(slots=2), Blend(slots=2, diversity=TopK(), novelty=0.0)
    taste = {"taste": 1.0}
    assert told(made(ranker_of(mixed, taste), shop, asks(shop, 2, [1]))[0]) == {Reason.CURATOR_PICK}
    assert told(made(ranker_of(pure, taste), shop, asks(shop, 2, [1]))[0]) == {Reason.NOTHING}


def test_a_sale_drawn_against_the_odds_says_that_it_is_a_try() -> None:
    shop = drawn_shop(3)
    slates, _, _ = made(ranker_of(Blend(temperature=2.0)), shop, asks(shop, 40))
    tries = slates.reason == Reason.TRYING_SOMETHING_NEW
    np.testing.assert_array_equal(tries, slates.margin < 0)
    assert tries.any()


@pytest.mark.parametrize("reason", list(Reason))
def test_a_sentence_names_what_is_known_and_leaves_no_gap(reason: Reason) -> None:
    for brand, sale in (("Maison Pré {x}", "Lamp"), ("", "Lamp"), ("", "")):
        words = sentence(reason, brand=brand, sale=sale)
        assert words
        assert "  " not in words
        assert not words.endswith(" ")
    assert "{" not in sentence(reason, brand="Pré", sale="Lamp")


def test_where_no_brand_is_known_the_sale_is_named() -> None:
    assert sentence(Reason.BECAUSE_YOU_BOUGHT, brand="Pré", sale="Lamp") == "you bought Pré"
    assert sentence(Reason.BECAUSE_YOU_BOUGHT, brand="", sale="Lamp") == "you bought Lamp"
    assert sentence(Reason.NEW_TO_YOU, brand="", sale="Lamp") == "it is new to you"
