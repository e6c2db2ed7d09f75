"""Settings and one shelf in, prices that keep the promises out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.campaign.audience import Audience, reach, slates_for_all
from recsys.campaign.bounds import Bound, Exposure, exposure
from recsys.campaign.promise import Rehearsal, priced, promises_of, sampled
from recsys.campaign.spec import Promised
from recsys.domain.arrays import F32, I32, NONE
from recsys.domain.errors import GateError, SettingError
from recsys.rerank.appetite import Appetite
from recsys.rerank.diversity import Mmr
from recsys.rerank.house import House
from recsys.rerank.ranker import Ranker
from recsys.rerank.spec import Blend
from tests.rerank.hand import asks, drawn_shop, info_of, ranker_of, vectors_of

SALES, MEMBERS = 24, 300
SHOP = drawn_shop(4, sales=SALES, members=MEMBERS, events=600, brands=0)
PICKS = sorted(set(SHOP.curated_sale.tolist()))
INFO = info_of(SHOP)
AT = int(asks(SHOP, 40).group_at[0])
UNIT = vectors_of(SALES, 3)
TASTES = vectors_of(MEMBERS, 7)
NOBODY = np.full(MEMBERS, NONE, dtype=np.int16)
HALVES = (np.arange(MEMBERS) % 2).astype(np.int16)


def ranker(**more: object) -> Ranker:
    spec = Blend.model_validate({"diversity": Mmr(weight=0.2), "explore_share": 0.0} | more)
    return ranker_of(spec, {"taste": 2.0})


def audience(num: int = MEMBERS) -> Audience:
    shelf = SHOP.shelf(AT).sales

    def taste_of(rows: I32) -> F32:
        taste: F32 = np.einsum("mu,su->ms", TASTES[rows], UNIT[shelf])
        return taste

    return Audience(SHOP, AT, np.arange(num, dtype=np.int32), taste_of, UNIT[shelf])


def test_each_sale_is_bounded_and_each_pick_promised() -> None:
    promises, notes = promises_of(Promised(), SHOP.shelf(AT), INFO)
    assert not notes
    assert len(promises.bounds) == SALES
    picks = {bound.group for bound in promises.bounds if bound.lower}
    assert picks == {f"sale=s{row}" for row in PICKS}
    assert {(bound.lower, bound.upper) for bound in promises.bounds} == {(0.2, 0.35), (0.0, 0.35)}
    free = Promised(each_pick=0.0, each_sale=1.0)
    assert not promises_of(free, SHOP.shelf(AT), INFO)[0].bounds


def test_a_bound_by_name_stands_in_for_the_general_one() -> None:
    pick = f"sale=s{PICKS[0]}"
    spec = Promised(bounds=(Bound(group=pick, lower=0.5),))
    found = promises_of(spec, SHOP.shelf(AT), INFO)[0].bounds
    assert [bound for bound in found if bound.group == pick] == list(spec.bounds)
    assert len(found) == SALES


def test_a_bound_about_nothing_today_is_left_out_with_a_note() -> None:
    closed = replace(SHOP, closes_at=np.where(np.arange(SALES) == 5, AT, SHOP.closes_at))
    bounds = (
        Bound(group="sale=s5", lower=0.1),
        Bound(group="curated", lower=0.1, segment="half=2"),
    )
    spec = Promised(each_sale=1.0, each_pick=0.0, bounds=bounds, segments=("half=1", "half=2"))
    segment = np.zeros(MEMBERS, dtype=np.int16)
    promises, notes = promises_of(spec, closed.shelf(AT), INFO)
    promises, lines = promises.about(Exposure.of_members(promises, segment).members)
    assert not promises.bounds
    assert [note.split(":")[0] for note in (*notes, *lines)] == [
        "sale=s5 is promised, but has no sale on this shelf",
        "curated in half=2 is promised, but it has no member here",
    ]
    wrong = Bound(group="curated", lower=0.1, segment="tier=x")
    with pytest.raises(SettingError, match="no segment is called 'tier=x'"):
        promises_of(Promised(bounds=(wrong,)), SHOP.shelf(AT), INFO)
    with pytest.raises(SettingError, match=r"each_pick=0.5 is above campaign.each_sale=0.3"):
        promises_of(Promised(each_pick=0.5, each_sale=0.3), SHOP.shelf(AT), INFO)


@pytest.mark.parametrize("explore", [0.0, 0.1])
def test_a_rehearsal_makes_the_slates_that_members_get(explore: float) -> None:
    spec = Promised(
        each_sale=0.4,
        bounds=(Bound(group="brand=b003", lower=0.3, segment="half=1"),),
        segments=("half=1", "half=2"),
    )
    shop = replace(SHOP, brand=(np.arange(SALES) % 5).astype(np.int32))
    info = info_of(shop)
    made = ranker(explore_share=explore, max_per_brand=2)
    who = replace(audience(), shop=shop)
    promises = promises_of(spec, shop.shelf(AT), info)[0]
    act = Rehearsal.of(made, who, promises, segment=HALVES, chunk=77)
    prices, _ = priced(made, who, promises, segment=HALVES, spec=spec)
    assert (prices.floor + prices.cap).any()
    house = House(info=info, prices=prices, segments=spec.segments, segment=HALVES)
    slates = [*slates_for_all(made.with_house(house), who, chunk=50)]
    shown = promises.groups.columns(np.concatenate([one.sales for one in slates]))
    np.testing.assert_array_equal(act(prices), shown)


def test_prices_keep_the_promises_of_the_audience() -> None:
    spec = Promised(each_pick=0.5, each_sale=0.6, tighten=0.0)
    promises = promises_of(spec, SHOP.shelf(AT), INFO)[0]
    act = Rehearsal.of(ranker(), audience(), promises, segment=NOBODY, chunk=100)
    assert act.eligible.all()
    free = [*slates_for_all(ranker(), audience())]
    assert promises.missed(exposure(free, promises, NOBODY).shares(promises)).max() > 0.1
    prices, missed = priced(ranker(), audience(), promises, segment=NOBODY, spec=spec)
    assert not missed
    housed = ranker().with_house(House(info=INFO, prices=prices))
    slates = [*slates_for_all(housed, audience(), chunk=64)]
    kept = exposure(slates, promises, NOBODY).shares(promises)
    assert promises.missed(kept).max() <= 1 / MEMBERS
    assert sum(reach(one, SALES).sum() for one in slates) == 6 * MEMBERS


def test_prices_are_found_where_value_is_one_chance_for_all() -> None:
    spec = Promised(each_pick=0.5, each_sale=0.6, tighten=0.0)
    promises = promises_of(spec, SHOP.shelf(AT), INFO)[0]
    same = replace(ranker(), value_model=ranker_of(Blend(), {}).value_model)
    free = [*slates_for_all(same, audience())]
    before = promises.missed(exposure(free, promises, NOBODY).shares(promises))
    # equal values turn together: no price makes some of them turn
    prices, _ = priced(same, audience(), promises, segment=NOBODY, spec=spec)
    assert prices.violation < before.max() / 2


def test_prices_are_found_where_many_would_like_one_new_sale_at_most() -> None:
    """A slate is as long with prices as without, whatever they make it begin with."""
    spec = Promised(each_pick=0.0, each_sale=0.4, tighten=0.0)
    shop = drawn_shop(9, sales=SALES, members=MEMBERS, events=150, brands=6)
    made = replace(ranker(max_per_brand=2, most_new=1), appetite=Appetite(low=2.0))
    who = replace(audience(), shop=shop)
    promises = promises_of(spec, shop.shelf(AT), info_of(shop))[0]
    act = Rehearsal.of(made, who, promises, segment=NOBODY, chunk=100)
    prices, _ = priced(made, who, promises, segment=NOBODY, spec=spec)
    assert (prices.floor + prices.cap).any()
    assert (act(prices) != NONE).all()


def test_promises_nobody_can_keep_are_refused_with_the_proof() -> None:
    spec = Promised(each_pick=0.0, each_sale=0.1)
    promises = promises_of(spec, SHOP.shelf(AT), INFO)[0]
    with pytest.raises(GateError, match="no slates can keep these promises together") as refused:
        priced(ranker(), audience(), promises, segment=NOBODY, spec=spec)
    # 24 sales at a tenth each are 2.4 places, a slate has six
    assert "2.4000 sales a member" in str(refused.value)


def test_a_shelf_longer_than_what_is_valued_is_refused() -> None:
    promises = promises_of(Promised(), SHOP.shelf(AT), INFO)[0]
    with pytest.raises(SettingError, match="24 sales on the shelf"):
        Rehearsal.of(ranker(candidates=10), audience(), promises, segment=NOBODY, chunk=64)


def test_a_sample_is_drawn_by_the_member_alone() -> None:
    everyone = np.arange(1000, dtype=np.int32)
    some = sampled(everyone, 100)
    assert len(some) == 100
    assert set(sampled(everyone[::-1], 100).tolist()) == set(some.tolist())
    assert sampled(everyone, 5000).tolist() == everyone.tolist()
