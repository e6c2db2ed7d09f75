from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.domain.events import HOUR
from recsys.domain.shop import Shop
from recsys.serve.shelves import Shelves
from tests.builders import tiny_dataset


@pytest.fixture(scope="module", name="shop")
def _shop() -> Shop:
    return tiny_dataset(members=20, days=8).shop


def test_the_shelf_is_that_of_the_instant_at_every_change_and_beside_it(shop: Shop) -> None:
    shelves = Shelves(shop)
    changes = np.concatenate([
        shop.opens_at,
        shop.closes_at,
        shop.curated_from,
        shop.curated_until,
        shop.stock_at,
    ])
    instants = np.concatenate([changes - 1, changes, changes + 1])
    np.random.default_rng(3).shuffle(instants)
    turned = set()
    for at in instants.tolist():
        shelf, right = shelves.at(at), shop.shelf(at)
        assert shelf.at == at
        assert shelf.sales.tolist() == right.sales.tolist()
        assert shelf.curated.tolist() == right.curated.tolist()
        turned.add(len(shelf))
    assert len(turned) > 2


def test_a_closed_or_sold_out_sale_is_never_there(shop: Shop) -> None:
    shelves = Shelves(shop)
    rng = np.random.default_rng(5)
    first, last = int(shop.opens_at.min()), int(shop.closes_at.max())
    for at in rng.integers(first - HOUR, last + HOUR, 200).tolist():
        sales = shelves.at(at).sales
        assert (shop.opens_at[sales] <= at).all()
        assert (at < shop.closes_at[sales]).all()
        assert not shop.sold_out(at)[sales].any()


def test_the_next_opening_is_the_first_after_the_instant(shop: Shop) -> None:
    shelves = Shelves(shop)
    first, last = int(shop.opens_at.min()), int(shop.opens_at.max())
    assert shelves.next_opening(first - 1) == first
    assert shelves.next_opening(first) == int(shop.opens_at[shop.opens_at > first].min())
    assert shelves.next_opening(last) is None


def test_a_catalogue_without_closing_times_is_looked_at_once_a_minute() -> None:
    shop = tiny_dataset(members=20, days=8, task="endless").shop
    shelves = Shelves(shop)
    at = int(shop.history.at.max()) + 1
    assert shelves.at(at).sales.tolist() == shop.shelf(at).sales.tolist() != []
    later = at + 400 * HOUR
    assert shelves.at(later).sales.tolist() == shop.shelf(later).sales.tolist()


def test_a_moment_is_a_tenth_of_a_second_with_the_shelf_of_now(shop: Shop) -> None:
    changes = np.concatenate([shop.opens_at, shop.closes_at]) + 12_345  # not on the grid
    moved = replace(shop, opens_at=shop.opens_at + 12_345, closes_at=shop.closes_at + 12_345)
    shelves = Shelves(moved)
    rng = np.random.default_rng(9)
    for now in (rng.choice(changes, 300) + rng.integers(-250_000, 250_000, 300)).tolist():
        at = shelves.moment(now)
        assert 0 <= now - at < 100_000
        assert moved.shelf(at).sales.tolist() == moved.shelf(now).sales.tolist()
    quiet = int(changes.max()) + 60_000_000
    moments = {shelves.moment(quiet - quiet % 100_000 + offset) for offset in (0, 50_000, 99_999)}
    assert len(moments) == 1


def test_a_catalogue_without_closing_times_has_moments_too(shop: Shop) -> None:
    shelves = Shelves(replace(shop, shelf_hours=24.0))
    for now in (int(shop.opens_at.max()) + offset for offset in (0, 59_999_999, 61_234_567)):
        assert 0 <= now - shelves.moment(now) < 100_000
