from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import NONE
from recsys.world import FlashSales, Noon, World, make_world
from recsys.world.policy import CHANCE_SHARE, Named, fill
from recsys.world.retailer import offer, open_sales
from recsys.world.state import SLOTS

WORLD = make_world(FlashSales(members=200, days=3))


def noon_of(world: World, *, sales: int, members: int) -> Noon:
    at = world.noon(0)
    rows = open_sales(world, world.start, at=at)[:sales]
    return Noon(world, world.start, offer(world, rows, at=at), np.arange(members))


@settings(max_examples=60, deadline=None)
@given(
    sales=st.integers(1, 40),
    members=st.integers(0, 60),
    kind=st.sampled_from(["random", "editors", "popular", "taste"]),
)
def test_a_slate_holds_each_sale_once_and_as_many_as_there_are(
    sales: int, members: int, kind: Named
) -> None:
    chosen = fill(noon_of(WORLD, sales=sales, members=members), kind=kind)
    assert chosen.columns.shape == chosen.propensity.shape == (members, SLOTS)
    filled = min(SLOTS, sales)
    assert (chosen.columns[:, filled:] == NONE).all()
    places = np.sort(chosen.columns[:, :filled], axis=1)
    assert (np.diff(places, axis=1) > 0).all()
    assert ((places >= 0) & (places < sales)).all()
    chances = chosen.propensity[:, :filled]
    assert ((chances > 0) & (chances <= 1 + 1e-6)).all()


def test_chance_alone_gives_every_sale_left_the_same_chance() -> None:
    chosen = fill(noon_of(WORLD, sales=20, members=200), kind="random")
    np.testing.assert_allclose(chosen.propensity, np.tile(1 / (20 - np.arange(6)), (200, 1)))


@pytest.mark.parametrize("kind", ["editors", "taste"])
def test_a_place_not_left_to_chance_goes_to_the_best_left(kind: Named) -> None:
    noon = noon_of(WORLD, sales=30, members=200)
    chosen = fill(noon, kind=kind)
    best = chosen.propensity > 0.5
    assert abs(best.mean() - (1 - CHANCE_SHARE)) < 0.06
    if kind == "editors":
        order = chosen.columns[best.all(axis=1)]
        assert len(order) > 20
        assert (order == order[0]).all()


def test_the_editors_put_what_they_think_best_of_today_first() -> None:
    noon = noon_of(WORLD, sales=60, members=200)
    chosen = fill(noon, kind="editors")
    first = np.bincount(chosen.columns[:, 0]).argmax()
    sales = noon.world.sales
    today = noon.offer.rows[sales.day[noon.offer.rows] == 0]
    assert sales.seen[noon.offer.rows[first]] >= sales.seen[today].max() - 1
