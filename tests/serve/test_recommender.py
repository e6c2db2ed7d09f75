from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.domain.arrays import NONE
from recsys.domain.errors import UnknownMemberError, UnknownSaleError
from recsys.domain.events import HOUR
from recsys.domain.slates import Reason
from recsys.serve.asks import AskSimilar
from recsys.serve.bundle import Bundle
from recsys.serve.front import iso
from recsys.serve.recommender import Recommender

STRANGER = "nobody"
REFUSES = "m0019"
"""Gave no consent to personal slates."""
KNOWN = "m0003"


@pytest.fixture(name="recommender")
def _recommender(bundle: Bundle) -> Recommender:
    return Recommender(bundle)


def at(bundle: Bundle, instant: int) -> Recommender:
    return Recommender(bundle, lambda: instant)


def test_a_slate_is_that_of_the_ranker_and_its_parts_add_up(
    bundle: Bundle, recommender: Recommender
) -> None:
    parts = bundle.parts
    row = int(parts.member_ids.rows([KNOWN])[0])
    slates = parts.slates(np.array([row]), recommender.shelf_at(), slots=4)
    [answer] = recommender.recommend([KNOWN], slots=4)
    assert answer.fallback == "personalised"
    assert not answer.short
    assert [place.sale for place in answer.sales] == parts.sales.ids[slates.sales[0]].tolist()
    assert [place.slot for place in answer.sales] == [1, 2, 3, 4]
    for place, gain, reason in zip(answer.sales, slates.gains[0], slates.reason[0], strict=True):
        assert place.taste + place.new + place.curated == pytest.approx(place.gain, abs=0)
        assert place.gain == pytest.approx(float(gain), rel=1e-5)
        assert place.reason == Reason(int(reason)).name.lower()
        assert place.because
        assert place.title


def test_evidence_is_a_sale_of_the_members_past(bundle: Bundle, recommender: Recommender) -> None:
    shop = bundle.parts.shop
    members = bundle.parts.members.ids.tolist()
    found = 0
    for row, answer in enumerate(recommender.recommend(members, slots=6)):
        first, last = shop.history.member_ptr[row : row + 2]
        past = set(bundle.parts.sales.ids[shop.history.sale[first:last]].tolist())
        shown = {place.evidence for place in answer.sales} - {None}
        assert shown <= past
        found += len(shown)
    assert found > 10


@pytest.mark.parametrize("member", [STRANGER, REFUSES])
def test_who_is_unknown_or_refuses_gets_the_editors_picks(bundle: Bundle, member: str) -> None:
    recommender = at(bundle, int(bundle.parts.shop.curated_from.max()))
    [answer] = recommender.recommend([member], slots=50)
    shelf = recommender.shelf()
    curated = [sale.sale for sale in shelf if sale.curated]
    assert curated
    assert answer.fallback == "curated"
    assert answer.short
    assert {place.sale for place in answer.sales} == {sale.sale for sale in shelf}
    assert {place.sale for place in answer.sales[: len(curated)]} == set(curated)
    assert {place.gain for place in answer.sales} == {0.0}
    assert [place.reason for place in answer.sales[: len(curated)]] == ["curator_pick"] * len(
        curated
    )


def test_without_picks_the_newest_are_shown(bundle: Bundle) -> None:
    none = np.zeros(0, dtype=np.int64)
    shop = replace(
        bundle.parts.shop, curated_sale=none.astype(np.int32), curated_from=none, curated_until=none
    )
    plain = Recommender(replace(bundle, parts=replace(bundle.parts, shop=shop)))
    [answer] = plain.recommend([STRANGER], slots=3)
    rows = bundle.parts.sale_ids.rows([place.sale for place in answer.sales])
    opened = shop.opens_at[plain.shelf_at().sales]
    assert answer.fallback == "newest"
    assert shop.opens_at[rows].tolist() == sorted(opened.tolist(), reverse=True)[:3]


def test_a_crowd_gets_what_each_gets_alone(bundle: Bundle, recommender: Recommender) -> None:
    members = [STRANGER, *bundle.parts.members.ids.tolist(), STRANGER]
    together = recommender.recommend(members, slots=5)
    for member, answer in zip(members, together, strict=True):
        [alone] = recommender.recommend([member], slots=5)
        assert answer.member == member
        assert answer.fallback == alone.fallback
        assert [p.sale for p in answer.sales] == [p.sale for p in alone.sales]
        assert [p.gain for p in answer.sales] == pytest.approx([p.gain for p in alone.sales])


def test_a_closed_or_sold_out_sale_is_never_on_a_slate(bundle: Bundle) -> None:
    shop = bundle.parts.shop
    rng = np.random.default_rng(2)
    edges = np.concatenate([shop.opens_at, shop.closes_at, shop.stock_at])
    instants = np.concatenate([
        rng.choice(edges, 100) + rng.integers(-1, 2, 100),
        rng.integers(shop.opens_at.min(), shop.closes_at.max(), 100),
    ])
    shown = 0
    for instant in instants.tolist():
        for answer in at(bundle, instant).recommend([KNOWN, STRANGER], slots=8):
            rows = bundle.parts.sale_ids.rows([place.sale for place in answer.sales])
            assert (shop.opens_at[rows] <= instant).all()
            assert (instant < shop.closes_at[rows]).all()
            assert not shop.sold_out(instant)[rows].any()
            shown += len(rows)
    assert shown > 1000


def test_the_shelf_turns_at_an_opening_without_a_reload(bundle: Bundle) -> None:
    noon = int(bundle.parts.shop.opens_at[-1])
    clock = [noon - 1]
    recommender = Recommender(bundle, lambda: clock[0])
    before = {sale.sale for sale in recommender.shelf()}
    assert recommender.next_opening(recommender.now()) == noon
    clock[0] = noon
    new = {sale.sale for sale in recommender.shelf()} - before
    assert new
    [answer] = recommender.recommend([STRANGER], slots=100)
    assert new <= {place.sale for place in answer.sales}


def test_before_the_first_opening_a_slate_is_empty(bundle: Bundle) -> None:
    early = at(bundle, int(bundle.parts.shop.opens_at.min()) - HOUR)
    [answer] = early.recommend([KNOWN], slots=4)
    assert (answer.sales, answer.short) == ((), True)


def test_a_bundle_of_the_past_stands_still_and_a_living_one_follows_the_clock(
    bundle: Bundle,
) -> None:
    assert Recommender(bundle).now() == bundle.parts.decided_at
    living = replace(bundle, parts=replace(bundle.parts, of_the_past=False))
    assert Recommender(living).now() > bundle.parts.decided_at
    assert at(bundle, 7).now() == 7


@given(
    row=st.integers(0, 59),
    k=st.integers(1, 90),
    scope=st.sampled_from(["open", "archive"]),
    by=st.sampled_from(["sale", "member", "vector"]),
    out=st.sets(st.integers(0, 79), max_size=20),
)
def test_similar_sales_are_those_of_brute_force(
    bundle: Bundle, row: int, k: int, scope: str, by: str, out: set[int]
) -> None:
    recommender, parts = Recommender(bundle), bundle.parts
    exclude = tuple(parts.sales.ids[sorted(out)].tolist())
    allowed = np.ones(80, dtype=np.bool_)
    if scope == "open":
        allowed[:] = False
        allowed[recommender.shelf_at().sales] = True
    allowed[sorted(out)] = False
    asked: dict[str, str | tuple[float, ...]]
    if by == "sale":
        asked = {"sale": str(parts.sales.ids[row])}
        scores = parts.sales.unit @ parts.sales.unit[row]
        allowed[row] = False
    elif by == "member":
        asked = {"member": str(parts.members.ids[row])}
        scores = parts.sales.vectors @ parts.members.vectors[row]
        if not parts.personalise[row]:
            with pytest.raises(ValueError, match="has not agreed"):
                recommender.similar(AskSimilar(**asked, k=k, scope=scope))  # type: ignore[arg-type]  # drawn from the same words
            return
    else:
        asked = {"vector": tuple(parts.members.vectors[row].tolist())}
        scores = parts.sales.vectors @ parts.members.vectors[row]
    found = recommender.similar(AskSimilar(**asked, k=k, scope=scope, exclude=exclude))  # type: ignore[arg-type]  # drawn from the same words
    right = sorted(scores[allowed].tolist(), reverse=True)[:k]
    assert [near.score for near in found] == pytest.approx(right, abs=1e-5)
    rows = parts.sale_ids.rows([near.sale for near in found])
    assert allowed[rows].all()
    assert len(set(rows.tolist())) == len(rows)
    on_shelf = set(recommender.shelf_at().sales.tolist())
    assert [near.open for near in found] == [int(sale) in on_shelf for sale in rows]


def test_similar_sales_can_be_of_some_brands_alone(recommender: Recommender) -> None:
    brands = sorted({sale.brand for sale in recommender.shelf() if sale.brand})[:2]
    found = recommender.similar(
        AskSimilar(member=KNOWN, k=100, scope="archive", brands=tuple(brands))
    )
    assert {near.brand for near in found} == set(brands)
    assert recommender.similar(AskSimilar(member=KNOWN, brands=("no such brand",))) == []


def test_similar_names_what_it_does_not_know(recommender: Recommender) -> None:
    with pytest.raises(UnknownMemberError):
        recommender.similar(AskSimilar(member=STRANGER))
    with pytest.raises(UnknownSaleError):
        recommender.similar(AskSimilar(sale=STRANGER))
    for asked in (
        AskSimilar(),
        AskSimilar(sale="s0001", member=KNOWN),
        AskSimilar(vector=(1.0,)),
        AskSimilar(vector=(1e300,) * 9),
    ):
        with pytest.raises(ValueError, match=r"exactly one|numbers"):
            recommender.similar(asked)


def test_the_shelf_lists_what_is_open_newest_first(
    bundle: Bundle, recommender: Recommender
) -> None:
    shelf = recommender.shelf()
    rows = bundle.parts.sale_ids.rows([sale.sale for sale in shelf])
    assert NONE not in rows
    assert sorted(rows.tolist()) == recommender.shelf_at().sales.tolist()
    opened = bundle.parts.shop.opens_at[rows]
    assert (np.diff(opened) <= 0).all()
    assert [sale.opens_at[:19] for sale in shelf] == [iso(when)[:19] for when in opened.tolist()]
