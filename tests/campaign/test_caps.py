from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recsys.campaign import caps as module
from recsys.campaign.caps import (
    WEEK,
    Caps,
    Sends,
    Verdict,
    may_send,
    only_sent,
    utility_of,
    worth_sending,
)
from recsys.domain.arrays import I64, NONE
from recsys.domain.events import DAY, HOUR
from recsys.domain.slates import Slates
from recsys.rerank.utility import ordered_sum
from tests.campaign.logged import slates_of

NOW = 1_800_000_000_000_000


def sends_of(*hours_ago: list[float]) -> Sends:
    """Sends to each member, so many hours before NOW."""
    member = np.repeat(np.arange(len(hours_ago)), [len(one) for one in hours_ago])
    ago = np.array([hour for one in hours_ago for hour in one], dtype=np.float64)
    return Sends.of(member, NOW - (ago * HOUR).astype(np.int64), len(hours_ago))


def verdicts(sends: Sends, at: int = NOW, **caps: float) -> list[Verdict]:
    return [Verdict(code) for code in may_send(sends, at, Caps.model_validate(caps))]


@pytest.mark.parametrize("block", [1, 3, 65_536])
@settings(max_examples=60)
@given(
    hours=st.lists(st.lists(st.integers(-30, 200), max_size=12), min_size=0, max_size=8),
    most=st.integers(0, 9),
    gap=st.sampled_from([0.0, 0.5, 12.0, 48.0]),
)
def test_verdicts_are_those_counted_by_hand(
    hours: list[list[int]], most: int, gap: float, *, block: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        found = verdicts(sends_of(*hours), sends_per_week=most, min_gap_hours=gap)  # type: ignore[arg-type]
    for member, verdict in enumerate(found):
        known = [hour for hour in hours[member] if hour >= 0]
        if any(hour < gap for hour in known):
            assert verdict == Verdict.TOO_SOON
        elif most and sum(hour < WEEK / HOUR for hour in known) >= most:
            assert verdict == Verdict.ENOUGH_THIS_WEEK
        else:
            assert verdict == Verdict.SEND


def test_a_member_without_a_past_may_be_sent_something() -> None:
    assert verdicts(sends_of([], [1.0], [])) == [Verdict.SEND, Verdict.TOO_SOON, Verdict.SEND]
    assert verdicts(sends_of()) == []


def test_the_gap_ends_when_it_is_over_and_counts_sends_of_the_same_instant() -> None:
    found = verdicts(sends_of([12.0], [11.999], [0.0], [-1.0]), min_gap_hours=12.0)
    assert found == [Verdict.SEND, Verdict.TOO_SOON, Verdict.TOO_SOON, Verdict.SEND]


@pytest.mark.parametrize(("month", "day"), [(3, 20), (10, 23)])
def test_a_daily_send_at_noon_is_never_capped_when_the_clocks_change(month: int, day: int) -> None:
    first = datetime(2027, month, day, 12, tzinfo=ZoneInfo("Europe/Paris"))
    noons = [first + timedelta(days=later) for later in range(20)]
    at = [int(noon.timestamp()) * 1_000_000 for noon in noons]
    assert len(set(np.diff(at))) == 2  # one day is an hour longer or shorter
    for sent, now in enumerate(at):
        past: I64 = np.array(at[:sent], dtype=np.int64)
        assert verdicts(Sends.of(np.zeros(sent, dtype=np.int64), past, 1), now) == [Verdict.SEND]
    # once more within the week is too much
    week = Sends.of(np.zeros(20, dtype=np.int64), np.array(at), 1)
    assert verdicts(week, at[-1] + 13 * HOUR) == [Verdict.ENOUGH_THIS_WEEK]


def test_sends_in_any_order_are_sorted_and_what_is_out_of_order_is_refused() -> None:
    sorted_sends = Sends.of(np.array([1, 0, 1]), np.array([5, 9, 3]), 3)
    assert sorted_sends.member_ptr.tolist() == [0, 1, 3, 3]
    assert sorted_sends.at.tolist() == [9, 3, 5]
    with pytest.raises(ValueError, match="ascend"):
        Sends(np.array([0, 2]), np.array([5, 3]))
    with pytest.raises(ValueError, match="cover"):
        Sends(np.array([0, 1]), np.array([5, 6]))
    with pytest.raises(ValueError, match="row 3 of 3"):
        Sends.of(np.array([3]), np.array([5]), 3)


def test_a_slate_is_sent_if_it_is_worth_what_a_send_costs() -> None:
    slates = slates_of(3, np.arange(30))
    worth = utility_of(slates)
    allowed = np.zeros(40, dtype=np.uint8)
    allowed[:4] = [Verdict.TOO_SOON, Verdict.SEND, Verdict.ENOUGH_THIS_WEEK, Verdict.SEND]
    cost = float(np.median(worth[worth > 0]))
    found = worth_sending(slates, allowed, Caps(cost_of_send=cost))
    for row in range(30):
        shown = slates.sales[row] != NONE
        by_hand = float(
            ordered_sum(slates.parts[row, shown, :-1].T).sum(dtype=np.float64) if shown.any() else 0
        )
        assert worth[row] == pytest.approx(by_hand)
        if allowed[row]:
            assert found[row] == allowed[row]
        elif not shown.any():
            assert found[row] == Verdict.NOTHING_TO_SHOW
        else:
            assert (found[row] == Verdict.SEND) == (worth[row] >= cost)
    assert {Verdict(code) for code in found} == {*Verdict}


def test_a_slate_worth_nothing_is_sent_while_a_send_costs_nothing() -> None:
    drawn = slates_of(1, np.arange(10))
    popular = replace(drawn, parts=np.zeros_like(drawn.parts))
    found = worth_sending(popular, np.zeros(10, dtype=np.uint8), Caps())
    empty = ~(popular.sales != NONE).any(axis=1)
    assert empty.any()
    np.testing.assert_array_equal(found == Verdict.SEND, ~empty)


def test_verdicts_do_not_depend_on_the_chunk() -> None:
    slates, allowed = slates_of(5, np.arange(40)), np.zeros(40, dtype=np.uint8)
    whole = worth_sending(slates, allowed, Caps(cost_of_send=0.5))
    for rows in (np.arange(40)[::-1], np.array([7]), np.array([], dtype=np.int64)):
        some = Slates(**{field.name: getattr(slates, field.name)[rows] for field in fields(Slates)})
        np.testing.assert_array_equal(
            worth_sending(some, allowed, Caps(cost_of_send=0.5)), whole[rows]
        )


def test_what_is_not_sent_shows_nothing_and_the_rest_stays() -> None:
    slates = slates_of(2, np.arange(40))
    verdict = np.where(np.arange(40) % 3 == 0, Verdict.TOO_SOON, Verdict.SEND).astype(np.uint8)
    left, sent = only_sent(slates, verdict), verdict == Verdict.SEND
    assert (left.sales[~sent] == NONE).all()
    assert not left.parts[~sent].any()
    assert not left.log_propensity[~sent].any()
    for field in fields(Slates):
        before, after = getattr(slates, field.name), getattr(left, field.name)
        np.testing.assert_array_equal(after[sent], before[sent], field.name)
        assert after.dtype == before.dtype, field.name


def test_the_defaults_are_seven_a_week_twelve_hours_apart_at_no_cost() -> None:
    assert Caps().model_dump() == {
        "sends_per_week": 7,
        "min_gap_hours": 12.0,
        "cost_of_send": 0.0,
    }
    with pytest.raises(ValidationError):
        Caps(cost_of_send=-1)
    assert 7 * DAY - WEEK == HOUR
