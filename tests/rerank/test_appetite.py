"""Appetite for new brands: counted by hand, fitted on a world whose shares are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F64, I64
from recsys.domain.shop import Shop
from recsys.rerank.appetite import USUAL, WINDOW_DAYS, Appetite, Counts, fit
from recsys.rerank.desk import Desk
from recsys.rerank.fit import usual_appetite
from recsys.rerank.trail import Trail
from tests.rerank.hand import Did, asks, drawn_shop, rows_of, shop_of

BRANDS = (0, 0, 1, 2)


def counts_of(shop: Shop, day: float, members: list[int] | None = None) -> Counts:
    requests = asks(shop, day, members)
    trail = Trail.of(shop.history, requests, rows_of(requests))
    return Counts.of(trail, Desk.of(shop).maker, window_days=WINDOW_DAYS)


def counts(new: I64, touched: I64, before: I64) -> Counts:
    return Counts(new.astype(np.float64), touched.astype(np.float64), before.astype(np.float64))


def test_touches_are_brands_of_a_day_and_first_ones_are_new() -> None:
    done = [
        Did(0, 0, 1.2),  # long ago: the first of brand 0
        Did(0, 0, 100.1),  # brand 0 again
        Did(0, 1, 100.2),  # the same brand on the same day: one touch
        Did(0, 1, 101.1),  # the next day: another
        Did(0, 2, 101.2),  # brand 1, new
        Did(0, 3, 130.0),  # after the request
    ]
    found = counts_of(shop_of(done, brand=list(BRANDS)), 120.0, [0, 1])
    assert found.new.tolist() == [1, 0]
    assert found.all.tolist() == [3, 0]
    assert found.before.tolist() == [1, 0]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), day=st.floats(20, 200))
def test_who_else_asks_and_what_comes_later_change_no_count(seed: int, day: float) -> None:
    shop = drawn_shop(seed, events=150)
    whole = counts_of(shop, day)
    for member in range(shop.num_members):
        alone = counts_of(shop, day, [member])
        for name in ("new", "all", "before"):
            assert getattr(alone, name)[0] == getattr(whole, name)[member]
    assert (whole.new <= whole.all).all()


def test_the_less_is_known_of_a_member_the_more_usual_the_member_is_taken_for() -> None:
    taste = Appetite(curve=(0.5, -0.05, 0.0), kappa=10.0)
    few = counts(np.array([0, 1, 100]), np.array([0, 1, 100]), np.array([0, 0, 0]))
    assert taste.index(few) == pytest.approx([1, 12 / 11, 105 / 55])
    later = 0.5 - 0.05 * np.log([1, 2, 101])
    assert taste.share(few) == pytest.approx(taste.index(few) * later)
    assert taste.usual(np.array([0.0, 10.0, 1e9])) == pytest.approx([
        0.5,
        0.5 - 0.05 * np.log(11),
        0.005,
    ])


def drawn(
    num: int, *, kappa: float, rng: np.random.Generator, most: int = 60
) -> tuple[Counts, F64, F64]:
    """Members whose own share is Beta around a usual share that falls with the past."""
    before = rng.integers(0, 300, num)
    usual = 0.6 - 0.08 * np.log1p(before)
    own = rng.beta(usual * kappa, (1 - usual) * kappa)
    touched = rng.integers(1, most, num)
    return counts(rng.binomial(touched, own), touched, before), own, usual


@pytest.mark.parametrize("kappa", [5.0, 13.0, 40.0])
def test_the_fit_finds_the_curve_and_the_belief_that_made_the_world(kappa: float) -> None:
    world, own, usual = drawn(20_000, kappa=kappa, rng=np.random.default_rng(3))
    found = fit(world)
    assert np.abs(found.usual(world.before) - usual).max() < 0.03
    assert found.kappa == pytest.approx(kappa, rel=0.15)
    assert float((found.share(world) < found.low).mean()) == pytest.approx(0.2, abs=0.01)
    share = found.index(world) * found.usual(world.before)
    raw = world.new / world.all

    def error(guess: F64) -> float:
        return float(np.sqrt(((guess - own) ** 2).mean()))

    everyone = np.full(len(own), raw.mean())
    assert error(share) < min(error(raw), error(usual), error(everyone))


def test_few_members_fit_nothing() -> None:
    world, _, _ = drawn(49, kappa=13.0, rng=np.random.default_rng(3))
    assert fit(world) == USUAL
    shop = drawn_shop(5)
    found = usual_appetite(Desk.of(shop), int(asks(shop, 30).group_at[0]))
    assert found.curve == USUAL.curve
    # a past of a month is halved: without a time before the window nothing is usual
    assert 10 < found.window_days < 15


def test_all_alike_are_believed_alike() -> None:
    """No excess of variance: the own share moves nothing but the largest kappa allows."""
    same = counts(np.full(100, 3), np.full(100, 10), np.arange(100))
    found = fit(same)
    assert found.kappa == pytest.approx(999.0)
    assert np.ptp(found.index(same)) < 0.01
