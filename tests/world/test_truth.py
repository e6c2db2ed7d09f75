from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.domain.arrays import I64, NONE
from recsys.domain.errors import UnknownMemberError, UnknownSaleError
from recsys.domain.events import Kind
from recsys.world import Played
from recsys.world import truth as module
from recsys.world.retailer import open_sales
from recsys.world.truth import Truth, What

DAY = 10


@pytest.fixture(scope="module")
def shelf(small: Played) -> I64:
    return open_sales(small.world, small.states[DAY], at=small.world.noon(DAY))


def names(rows: I64, letter: str, width: int) -> list[str]:
    return [f"{letter}{row:0{width}d}" for row in rows.tolist()]


@pytest.fixture(scope="module")
def sales(shelf: I64) -> list[str]:
    return names(shelf, "s", 5)


@pytest.fixture(scope="module")
def members() -> list[str]:
    return names(np.arange(600), "m", 6)


@pytest.mark.parametrize("what", ["engage", "click", "purchase", "margin"])
def test_scores_do_not_depend_on_who_else_is_asked_for(
    small: Played, members: list[str], sales: list[str], what: What, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = small.world.noon(DAY)
    whole = small.truth.scores(members, sales, at, what=what)
    assert whole.dtype == np.float32
    assert (whole > 0).all()
    monkeypatch.setattr(module, "CHUNK", 7)
    backwards = small.truth.scores(members[::-1], sales[::-1], at, what=what)
    np.testing.assert_array_equal(whole, backwards[::-1, ::-1])
    one = small.truth.scores(members[5:6], sales[3:4], at, what=what)
    np.testing.assert_array_equal(whole[5:6, 3:4], one)


def test_a_purchase_needs_an_engagement_and_leaves_its_margin(
    small: Played, shelf: I64, members: list[str], sales: list[str]
) -> None:
    at, truth = small.world.noon(DAY), small.truth
    engaged = truth.scores(members, sales, at)
    bought = truth.scores(members, sales, at, what="purchase")
    assert (bought < engaged).all()
    assert (engaged < 1).all()
    worth = small.world.sales.price * small.world.sales.margin_share
    margin = truth.scores(members, sales, at, what="margin")
    np.testing.assert_allclose(margin / bought, np.tile(worth[shelf], (600, 1)), rtol=1e-5)


def test_what_is_visible_does_not_depend_on_hidden_appeal(
    small: Played, members: list[str], sales: list[str]
) -> None:
    at, world = small.world.noon(DAY), small.world
    bland = replace(world, sales=replace(world.sales, hidden=0 * world.sales.hidden))
    other = Truth(bland, small.states)
    np.testing.assert_array_equal(
        small.truth.scores(members, sales, at, visible=True),
        other.scores(members, sales, at, visible=True),
    )
    np.testing.assert_array_equal(
        other.scores(members, sales, at), other.scores(members, sales, at, visible=True)
    )
    assert (small.truth.scores(members, sales, at) != other.scores(members, sales, at)).any()


def test_less_time_to_close_leaves_less_to_expect(
    small: Played, members: list[str], sales: list[str]
) -> None:
    at = small.world.noon(DAY)
    hour = 3_600_000_000
    now, later = (small.truth.scores(members, sales, at + hours * hour) for hours in (0, 8))
    assert (later < now).all()


def test_where_the_truth_expects_more_more_happens(demo: Played) -> None:
    world, log, day = demo.world, demo.log, 25
    at = world.noon(day)
    shelf = open_sales(world, demo.states[day], at=at)
    expected = demo.truth.scores(
        names(np.arange(len(world.members)), "m", 6), names(shelf, "s", 5), at
    )
    happened = np.zeros(expected.shape, dtype=np.bool_)
    viewed = (log.kind == Kind.VIEW) & (log.at >= at) & (log.at < world.noon(day + 1))
    happened[log.member[viewed], np.searchsorted(shelf, log.sale[viewed])] = True
    active = happened.any(axis=1)
    fifth = np.digitize(expected[active], np.quantile(expected[active], [0.2, 0.4, 0.6, 0.8]))
    rates = [happened[active][fifth == number].mean() for number in range(5)]
    assert (np.diff(rates) > 0).all()
    assert rates[-1] > 10 * rates[0]


def test_customers_of_the_shop_whom_nobody_claims_have_a_truth(
    small: Played, sales: list[str]
) -> None:
    at = small.world.noon(DAY)
    known, unclaimed = (
        small.truth.scores([name], sales, at) for name in ("m000042", "shop:k240000")
    )
    np.testing.assert_array_equal(known, unclaimed)


@pytest.mark.parametrize("name", ["m999999", "42", "", "m-1", "mm", "shop:k", "shop:k999999"])
def test_a_stranger_has_no_truth(small: Played, sales: list[str], name: str) -> None:
    with pytest.raises(UnknownMemberError, match="m000000 to m001499"):
        small.truth.scores([name], sales, small.world.noon(DAY))


def test_a_sale_of_another_world_has_no_truth(small: Played) -> None:
    with pytest.raises(UnknownSaleError, match="s00000"):
        small.truth.scores(["m000001"], ["s99999"], small.world.noon(DAY))


def test_oracles_fill_slates_with_the_best_there_is(
    small: Played, members: list[str], sales: list[str]
) -> None:
    at, truth = small.world.noon(DAY), small.truth
    scores = truth.scores(members, sales, at, what="purchase")
    best = truth.oracle(members, sales, at)
    found = np.take_along_axis(scores, best, axis=1)
    np.testing.assert_array_equal(found, -np.sort(-scores, axis=1)[:, :6])
    visible = np.take_along_axis(scores, truth.visible_oracle(members, sales, at), axis=1)
    assert visible.sum() < found.sum()
    assert (truth.oracle(members, sales[:2], at)[:, 2:] == NONE).all()
    assert truth.scores([], sales, at).shape == (0, len(sales))
