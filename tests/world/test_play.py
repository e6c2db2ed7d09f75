from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from recsys.domain.arrays import NONE
from recsys.domain.events import Channel, Kind
from recsys.world import (
    FlashSales,
    Noon,
    Played,
    State,
    behave,
    make_world,
    play,
    respond,
    simulate,
)
from recsys.world.log import Log
from recsys.world.policy import Chosen, logging_policy
from recsys.world.retailer import open_sales
from recsys.world.state import NEVER, SLOTS

SPEC = FlashSales(members=700, days=9)


def same(first: Log | State, second: Log | State) -> None:
    for field in fields(first):
        one, other = getattr(first, field.name), getattr(second, field.name)
        np.testing.assert_array_equal(one, other, err_msg=field.name)
        assert np.asarray(one).dtype == np.asarray(other).dtype, field.name


def first_six(noon: Noon) -> Chosen:
    columns = np.tile(np.arange(SLOTS), (len(noon.rows), 1))
    return Chosen(columns=columns, propensity=np.full(columns.shape, np.nan, dtype=np.float32))


@pytest.mark.parametrize("policy", ["editors", "random", "popular", "taste"])
def test_a_world_has_equal_bits_in_any_blocks_and_order(policy: str) -> None:
    spec = FlashSales.model_validate({**SPEC.model_dump(), "logging_policy": policy})
    whole, parts = play(spec), play(spec, block=53, order=-1)
    same(whole.log, parts.log)
    same(whole.state, parts.state)
    assert whole.totals == parts.totals


def test_how_many_cells_are_held_at_a_time_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = play(SPEC)
    monkeypatch.setattr(behave, "TILE", 31)
    same(play(SPEC).log, whole.log)


def test_another_seed_is_another_world() -> None:
    other = play(FlashSales(members=700, days=9, seed=2))
    assert play(SPEC).totals != other.totals


def test_a_member_alone_lives_the_same_day_as_among_others() -> None:
    spec = FlashSales(members=80, days=5)
    same(play(spec, block=1).log, play(spec).log)


def test_a_state_saved_and_loaded_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    past = play(SPEC)
    path = tmp_path / "state.npz"
    past.states[4].save(path)
    loaded = State.load(path)
    same(loaded, past.states[4])
    rest = respond(past.world, loaded, policy=logging_policy, days=5)
    assert rest.totals == past.totals[4:]
    same(rest.state, past.state)


def test_playing_on_changes_no_state_it_started_from() -> None:
    past = play(SPEC)
    start = past.states[3]
    before = start.branch()
    respond(past.world, start, policy=first_six, days=3)
    same(start, before)
    assert not any(
        np.shares_memory(getattr(start, field.name), getattr(before, field.name))
        for field in fields(State)
        if field.name != "day"
    )


def test_two_policies_meet_the_same_luck() -> None:
    past = play(SPEC)
    logs = [
        respond(past.world, past.states[5], policy=policy, days=1).log
        for policy in (first_six, logging_policy)
    ]
    visits = [
        set(zip(log.member[own].tolist(), log.at[own].tolist(), strict=True))
        for log in logs
        for own in [(log.kind == Kind.VISIT) | (log.kind == Kind.MAIL_OPEN)]
    ]
    # visits by a click in the mail depend on the mail; all others are the member's own
    assert len(visits[0] ^ visits[1]) < 0.1 * len(visits[0])
    assert len(visits[0] & visits[1]) > 100


def test_a_longer_world_has_the_same_past() -> None:
    long = make_world(SPEC, days=15)
    same(
        respond(long, long.start, policy=logging_policy, days=9).log,
        play(SPEC).log,
    )


def test_a_world_says_when_it_has_no_more_days() -> None:
    past = play(SPEC)
    with pytest.raises(ValueError, match="cannot play 1 from day 9"):
        respond(past.world, past.state, policy=first_six, days=1)


def test_a_named_policy_and_what_fills_slates_are_played_alike() -> None:
    assert simulate(SPEC, "editors", 2) == simulate(SPEC, logging_policy, 2)
    assert simulate(SPEC, None, 2) == simulate(SPEC, "editors", 2)
    assert [day.day for day in simulate(SPEC, first_six, 2)] == [9, 10]
    assert simulate(SPEC, "taste", 3) != simulate(SPEC, "random", 3)


def test_nothing_happens_on_a_sale_before_it_opens_or_after_it_closes(small: Played) -> None:
    log, sales = small.log, small.world.sales
    on = log.sale != NONE
    sale, at = log.sale[on], log.at[on]
    assert (at >= sales.opens_at[sale]).all()
    assert (at < sales.closes_at[sale]).all()


def test_members_act_only_while_they_are_members(small: Played) -> None:
    log, members = small.log, small.world.members
    day = np.searchsorted(small.world.noons, log.at, side="right") - 2
    assert (members.joined_day[log.member] <= day).all()
    assert (day < members.left_day[log.member]).all()
    joined = members.joined_day[members.joined_day >= 0]
    assert set(joined.tolist()) == set(range(small.world.num_days))


def test_stock_is_never_sold_twice_and_gone_is_gone(demo: Played) -> None:
    log, state, sales = demo.log, demo.state, demo.world.sales
    bought = log.kind == Kind.PURCHASE
    sold = np.bincount(log.sale[bought], minlength=len(sales))
    np.testing.assert_array_equal(sales.stock - sold, state.stock_left)
    gone = state.sold_out_at != NEVER
    np.testing.assert_array_equal(gone, state.stock_left == 0)
    assert gone.sum() > 20
    assert (log.at[bought] <= state.sold_out_at[log.sale[bought]]).all()
    at = demo.world.noon(demo.state.day - 1)
    assert not gone[open_sales(demo.world, demo.states[-2], at=at)].all()
    assert (state.sold_out_at[open_sales(demo.world, state, at=at)] > at).all()


def test_every_purchase_has_a_view_and_a_cart_before_it(small: Played) -> None:
    log = small.log
    pair = log.member.astype(np.int64) * len(small.world.sales) + log.sale
    first = {}
    for kind in (Kind.VIEW, Kind.CART, Kind.PURCHASE):
        of = log.kind == kind
        keys, at = np.unique(pair[of], return_index=True)
        first[kind] = dict(zip(keys.tolist(), log.at[of][at].tolist(), strict=True))
    assert len(first[Kind.PURCHASE]) > 20
    for key, at in first[Kind.PURCHASE].items():
        assert first[Kind.VIEW][key] <= first[Kind.CART][key] <= at


def test_a_place_was_filled_with_the_propensity_that_is_stored(demo: Played) -> None:
    log = demo.log
    # sum of 1 / propensity over those shown a sale estimates all who were shown anything
    first = (log.shown_slot == 0) & (log.shown_channel == Channel.MAIL) & (log.shown_day == 20)
    weight = 1 / log.shown_propensity[first].astype(np.float64)
    slates = int(first.sum())
    by_sale = np.bincount(log.shown_sale[first], weights=weight)
    spread = np.sqrt(np.bincount(log.shown_sale[first], weights=weight**2))
    shown = np.flatnonzero(spread)
    assert len(shown) > 50
    gaps = (by_sale[shown] - slates) / spread[shown]
    assert np.abs(gaps).max() < 4.5
    assert np.abs(by_sale[shown].mean() - slates) < 0.1 * slates
