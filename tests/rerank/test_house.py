"""What the shop asks of all slates: pins, bans and prices, explorers, and those who like few new.

Held on the policy with offers drawn at random, and on whole rankers.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import NONE
from recsys.domain.prices import Prices
from recsys.domain.slates import FLAG_EXPLORED, FLAG_PINNED, PARTS, Reason
from recsys.rerank.diversity import Mmr, TopK
from recsys.rerank.house import House, load, vocabs
from recsys.rerank.offer import Offer
from recsys.rerank.policy import SlatePolicy
from recsys.rerank.ranker import Ranker
from recsys.rerank.ranker import load as load_ranker
from recsys.rerank.rules import COLUMNS, Rules
from recsys.rerank.spec import Blend, Pure, Rerank
from tests.rerank.hand import (
    START,
    SURE,
    asks,
    drawn_shop,
    info_of,
    no_draws,
    offer_of,
    ranker_of,
    rows_of,
    slates_of,
    taste_of,
    vectors_of,
)

SEEDS = st.integers(0, 2**32 - 1)
DAY_40 = datetime.fromtimestamp(START / 1e6, tz=UTC) + timedelta(days=39)


def house_of(shop: Any, *told: dict[str, Any], **more: Any) -> House:
    """Rules in force on day 40 of a drawn shop."""
    plain = {"from_at": DAY_40, "until_at": DAY_40 + timedelta(days=3), "by": "ana", "why": "so"}
    rows = [{"rule_id": f"r{n}"} | plain | rule for n, rule in enumerate(told)]
    info = info_of(shop)
    rules = Rules.of(pl.DataFrame(rows, schema=COLUMNS), **vocabs(info))
    return House(info=info, rules=rules, **more)


def pinned(offer: Offer, seed: int, slots: int) -> Offer:
    """Two of three members have a sale of their offer in some slot."""
    rng = np.random.default_rng(seed)
    num, width = offer.eligible.shape
    pins = np.full((num, slots), NONE)
    rows = np.flatnonzero(np.arange(num) % 3 > 0)
    pins[rows, rng.integers(slots, size=len(rows))] = rng.integers(width, size=len(rows))
    return replace(offer, pinned=pins)


@settings(max_examples=25, deadline=None)
@given(
    seed=SEEDS,
    temperature=st.sampled_from([0.0, 0.7]),
    limit=st.integers(0, 2),
    apart=st.sampled_from([1, 3]),
)
def test_a_pin_holds_its_slot_once_and_the_rest_keeps_the_rules(
    seed: int, *, temperature: float, limit: int, apart: int
) -> None:
    offer = pinned(offer_of(seed, n=12, c=14), seed, 5)
    assert offer.pinned is not None
    policy = SlatePolicy(5, Mmr(), temperature, max_per_brand=limit, apart=apart)
    draws = np.random.default_rng(seed).random((12, 5))
    picks = policy.act(offer, draws)
    for row in range(12):
        shown = picks.columns[row][picks.columns[row] != NONE]
        assert len(set(shown.tolist())) == len(shown)
        assert offer.eligible[row, shown].all()
        brands = np.broadcast_to(offer.brand, offer.eligible.shape)[row, shown]
        if limit:
            assert np.bincount(brands - brands.min()).max() <= limit
        for slot in np.flatnonzero(offer.pinned[row] != NONE):
            pin = offer.pinned[row, slot]
            if offer.eligible[row, pin]:
                assert picks.columns[row, slot] == pin
                assert picks.log_propensity[row, slot] == 0
    np.testing.assert_allclose(
        policy.log_prob(offer, picks.columns), picks.log_propensity, atol=1e-6
    )
    free = SlatePolicy(5, Mmr(), temperature, max_per_brand=limit, apart=apart).act(
        replace(offer, pinned=None), draws
    )
    mine = (offer.pinned == NONE).all(axis=1)
    np.testing.assert_array_equal(picks.columns[mine], free.columns[mine])


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_explorers_are_as_many_and_their_sales_as_likely_as_the_log_says(
    temperature: float,
) -> None:
    """A million draws of one member's last slot: each sale within 4 standard errors."""
    one = offer_of(3, n=1, c=8)
    one = replace(one, eligible=np.ones((1, 8), dtype=np.bool_))
    pool = np.zeros((1, 8), dtype=np.bool_)
    pool[0, [1, 4, 6]] = True
    num, slots = 250_000, 2
    many = replace(one.take(np.zeros(num, dtype=np.int64)), pool=pool)
    policy = SlatePolicy(slots, TopK(), temperature, explore_share=0.3)
    picks = policy.act(many, np.random.default_rng(5).random((num, policy.num_draws)))
    assert abs(picks.explored[:, 1].mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / num)
    assert not picks.explored[:, 0].any()
    first = int(np.bincount(picks.columns[:, 0]).argmax())
    same = np.flatnonzero(picks.columns[:, 0] == first)
    total = 0.0
    for column in range(8):
        chosen = same[picks.columns[same, 1] == column]
        asked = np.array([[first, column]])
        chance = float(np.exp(policy.log_prob(replace(one, pool=pool), asked)[0, 1]))
        total += chance if column != first else 0.0
        share = len(chosen) / len(same)
        assert abs(share - chance) <= 4 * np.sqrt(chance * (1 - chance) / len(same)) + 1e-9
        if len(chosen):
            np.testing.assert_allclose(np.exp(picks.log_propensity[chosen, 1]), chance, rtol=1e-5)
    assert total == pytest.approx(1.0, abs=1e-6)


def test_an_empty_pool_leaves_the_greedy_pick_and_certainty() -> None:
    offer = replace(offer_of(5, n=9, c=7), pool=np.zeros((1, 7), dtype=np.bool_))
    policy = SlatePolicy(4, TopK(), explore_share=1.0)
    picks = policy.act(offer, no_draws(9, policy.num_draws))
    plain = SlatePolicy(4, TopK()).act(offer, no_draws(9, 4))
    np.testing.assert_array_equal(picks.columns, plain.columns)
    assert not picks.explored.any()
    assert not picks.log_propensity.any()


@pytest.mark.parametrize("most", [10, 200], ids=["candidates", "whole shelf"])
def test_a_ranker_follows_the_rules_and_says_so(most: int) -> None:
    shop = drawn_shop(8, sales=30, brands=0)
    ranker = ranker_of(Blend(candidates=most, explore_share=0.0))
    requests = asks(shop, 40)
    before = slates_of(ranker, shop, requests)
    worst = int(np.setdiff1d(np.arange(30), before.sales)[0])
    best = int(before.sales[0, 0])
    house = house_of(
        shop,
        {"kind": "pin", "sale": f"s{worst}", "slot": 3},
        {"kind": "ban", "sale": f"s{best}"},
    )
    slates = slates_of(ranker.with_house(house), shop, requests)
    assert (slates.sales[:, 2] == worst).all()
    assert (slates.flags[:, 2] == FLAG_PINNED).all()
    assert (slates.reason[:, 2] == Reason.EDITOR_PIN).all()
    assert not slates.flags[:, [0, 1, 3, 4, 5]].any()
    assert not (slates.sales == best).any()
    later = slates_of(ranker.with_house(house), shop, asks(shop, 43))
    assert not later.flags.any()


def test_a_boost_lifts_and_a_bury_sinks_a_sale() -> None:
    shop = drawn_shop(8, sales=30, brands=0)
    ranker, requests = ranker_of(Blend(explore_share=0.0, max_per_brand=0)), asks(shop, 40)
    plain = slates_of(ranker, shop, requests)
    shown = np.bincount(plain.sales.ravel(), minlength=30)
    some = int(np.argsort(-shown)[5])
    for kind, factor in (("boost", 4.0), ("bury", 0.25)):
        house = house_of(shop, {"kind": kind, "sale": f"s{some}", "factor": factor})
        slates = slates_of(ranker.with_house(house), shop, requests)
        now = int((slates.sales == some).sum())
        assert (now > shown[some]) if kind == "boost" else (now < shown[some])
        editor = slates.parts[..., PARTS.index("editor")][slates.sales == some]
        assert ((editor > 0) if kind == "boost" else (editor < 0)).all()


@pytest.mark.parametrize("spec", SURE, ids=lambda kind: kind.kind)
def test_prices_move_sales_and_stand_in_their_parts(spec: Rerank) -> None:
    shop = drawn_shop(8, sales=30, brands=0)
    requests, ranker = asks(shop, 40), ranker_of(spec)
    shown = np.bincount(slates_of(ranker, shop, requests).sales.ravel(), minlength=30)
    rare, often = int(np.argmin(shown)), int(np.argmax(shown))
    amount = np.array([0.5, 0.0], dtype=np.float32)
    prices = Prices(
        groups=(f"sale=s{rare}", f"sale=s{often}"),
        segments=(None, "half"),
        floor=amount,
        cap=amount[::-1].copy(),
        missed=np.zeros(2, dtype=np.float32),
    )
    segment = (np.arange(shop.num_members) % 2 - 1).astype(np.int16)
    house = house_of(shop, prices=prices, segments=("half",), segment=segment)
    slates = slates_of(ranker.with_house(house), shop, requests)
    floor, cap = (slates.parts[..., PARTS.index(part)] for part in ("floor", "cap"))
    assert (slates.sales == rare).any(axis=1).all()
    np.testing.assert_array_equal(floor[slates.sales == rare], np.float32(0.5))
    assert not (slates.sales[segment[requests.member] == 0] == often).any()
    assert not floor[slates.sales != rare].any()
    assert not cap[slates.sales != often].any()


def test_a_ranker_lets_a_share_of_members_explore_and_logs_the_chance() -> None:
    shop = drawn_shop(6, members=400, sales=20, brands=0)
    ranker = ranker_of(Blend(explore_share=0.25, explore_below=5, diversity=TopK()))
    requests = asks(shop, 40)
    slates = slates_of(ranker, shop, requests)
    explored = (slates.flags & FLAG_EXPLORED) > 0
    assert not explored[:, :-1].any()
    assert 0.15 < explored[:, -1].mean() < 0.35
    assert (slates.log_propensity[:, -1] < 0).all()
    known = np.bincount(shop.history.sale[shop.history.at < requests.group_at[0]], minlength=20)
    assert (known[slates.sales[:, -1][explored[:, -1]]] < 5).all()
    asked, offer = ranker.offered(
        shop,
        requests,
        rows_of(requests),
        taste=taste_of(requests, shop),
        unit=vectors_of(20, 3)[requests.shelf(0)],
    )
    place = np.full(21, NONE)
    place[asked.question.sales[0]] = np.arange(20)
    again = ranker.policy.log_prob(offer, place[slates.sales])
    np.testing.assert_allclose(again, slates.log_propensity, atol=1e-6)


def test_a_house_is_kept_as_it_was(tmp_path: Path) -> None:
    shop = drawn_shop(8, sales=30, brands=4)
    house = house_of(
        shop,
        {"kind": "ban", "brand": "b001"},
        prices=Prices(
            groups=("brand=b002",),
            segments=(None,),
            floor=np.array([0.1], dtype=np.float32),
            cap=np.zeros(1, dtype=np.float32),
            missed=np.zeros(1, dtype=np.float32),
        ),
        segments=("half",),
        segment=np.zeros(shop.num_members, dtype=np.int16),
    )
    ranker: Ranker = ranker_of(Pure(), kernel=vectors_of(30)).with_house(house)
    ranker.save(tmp_path / "ranker")
    back = load_ranker(tmp_path / "ranker", info_of(shop)).with_kernel(vectors_of(30))
    one, two = (slates_of(each, shop, asks(shop, 40)) for each in (ranker, back))
    np.testing.assert_array_equal(one.sales, two.sales)
    np.testing.assert_array_equal(one.parts, two.parts)
    kept = load(tmp_path / "ranker", info_of(shop))
    assert kept.prices is not None
    assert house.prices is not None
    assert kept.prices.fingerprint == house.prices.fingerprint
    assert not len(House().rules)
