from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.campaign.bounds import Bound, Exposure, Promises
from recsys.campaign.repair import RepairNote, repair
from recsys.campaign.swaps import Room, Spare
from recsys.domain.arrays import F32, I16, NONE
from recsys.domain.errors import GateError
from recsys.domain.prices import Groups
from recsys.domain.slates import FLAG_EXPLORED, FLAG_PINNED, FLAG_REPAIRED, PARTS, Reason, Slates
from recsys.rerank.utility import ordered_sum

SALES, SLOTS = 8, 3
SHELF = np.arange(SALES) * 5 + 2
"""Sale rows, so that none is its own column."""
BRAND = np.arange(SALES) // 2


def groups() -> Groups:
    holds = np.concatenate([np.eye(SALES, dtype=np.bool_), np.arange(4)[:, None] == BRAND])
    names = (*(f"sale {sale}" for sale in range(SALES)), *(f"brand {brand}" for brand in range(4)))
    return Groups(sales=SHELF, names=names, holds=holds)


@dataclass(frozen=True)
class Made:
    """Slates of everyone, and what could take a place on them."""

    slates: Slates
    spare: Spare
    segment: I16

    def promises(self, *bounds: Bound) -> Promises:
        return Promises(bounds=bounds, groups=groups(), segments=("north", "south"))

    def exposure(self, promises: Promises, slates: Slates | None = None) -> Exposure:
        shown = groups().columns((slates or self.slates).sales)
        return Exposure.none(promises).plus(shown, self.segment)

    def repaired(self, promises: Promises, **more: Any) -> tuple[Slates, RepairNote]:
        settings_: dict[str, Any] = {
            "exposure": self.exposure(promises),
            "segment": self.segment,
            "most": 1.0,
        }
        return repair(self.slates, self.spare, promises, **(settings_ | more))


def parts_of(gain: F32) -> F32:
    """Some parts that add up to a gain, in a way."""
    parts = np.zeros((*gain.shape, len(PARTS)), dtype=np.float32)
    parts[..., 0], parts[..., 4] = gain * np.float32(0.75), gain * np.float32(0.25)
    return parts


def made(seed: int, num: int = 200, *, popular: float = 1.0, most: int = 0) -> Made:
    """The best slates of some members; a third has a slot less, a tenth of the sales are out."""
    rng = np.random.default_rng(seed)
    liked = rng.random((num, SALES)) + popular * np.linspace(0, 1, SALES)
    eligible = rng.random((num, SALES)) < 0.9
    eligible[:, :SLOTS] = True
    gain = np.where(eligible, liked, -1).astype(np.float32)
    order = np.argsort(-gain, axis=1)
    sorted_gain = np.take_along_axis(gain, order, axis=1)
    columns, spare = order[:, :SLOTS], order[:, SLOTS:]
    shown = np.where((np.arange(SLOTS) == SLOTS - 1) & (rng.random((num, 1)) < 0.3), NONE, columns)
    offered = np.where(np.take_along_axis(eligible, spare, axis=1), spare, NONE)
    slates = Slates(
        members=rng.permutation(num),
        sales=np.where(shown == NONE, NONE, SHELF[shown]),
        parts=parts_of(sorted_gain[:, :SLOTS]),
        margin=np.ones((num, SLOTS), dtype=np.float32),
        log_propensity=rng.uniform(-2, 0, (num, SLOTS)).astype(np.float32),
        reason=np.full((num, SLOTS), Reason.NEW_TO_YOU, dtype=np.uint8),
        evidence=np.full((num, SLOTS), 7, dtype=np.int64),
        flags=np.where(rng.random((num, SLOTS)) < 0.1, FLAG_PINNED, 0).astype(np.uint8),
    )
    return Made(
        slates=slates,
        spare=Spare(
            sales=np.where(offered == NONE, NONE, SHELF[offered]),
            parts=parts_of(sorted_gain[:, SLOTS:]),
            brand=BRAND,
            max_per_brand=most,
        ),
        segment=rng.integers(-1, 2, num).astype(np.int16),
    )


MENDABLE = (
    Bound(group="sale 0", lower=0.12),
    Bound(group="sale 7", lower=0.1, upper=0.7),
    Bound(group="brand 3", upper=1.35),
    Bound(group="brand 1", lower=0.3, upper=1.0, segment="south"),
    Bound(group="sale 2", upper=0.3, segment="north"),
)


@settings(max_examples=25)
@given(seed=st.integers(0, 9_999))
def test_promises_are_kept_afterwards_and_no_other_is_broken(seed: int) -> None:
    hand = made(seed)
    promises = hand.promises(*MENDABLE)
    assert Room.of(promises, hand.exposure(promises)).need.any()
    slates, note = hand.repaired(promises)
    after = hand.exposure(promises, slates)
    assert not Room.of(promises, after).need.any()
    assert promises.missed(after.shares(promises)).max() < 1e-9
    np.testing.assert_array_equal(after.shown, note.exposure.shown)
    assert len(set(note.members.tolist())) == len(note.members)
    assert note.share == len(note.members) / 200
    # swap by swap nothing is missed by more than before
    exposure, place = hand.exposure(promises), np.argsort(slates.members)
    out, into = groups().columns(note.out), groups().columns(note.into)
    for swap, row in enumerate(place[note.members]):
        need = Room.of(promises, exposure).need
        exposure = exposure.swapped(out[[swap]], into[[swap]], hand.segment[[row]])
        assert (Room.of(promises, exposure).need <= need).all()


@settings(max_examples=15)
@given(seed=st.integers(0, 9_999), most=st.integers(0, 1))
def test_a_repaired_slate_is_one_swap_away_and_marked_as_a_whole(seed: int, most: int) -> None:
    hand = made(seed, most=most)
    before = {f.name: getattr(hand.slates, f.name).copy() for f in fields(Slates)}
    slates, note = hand.repaired(hand.promises(*MENDABLE[:2]))
    rows = np.flatnonzero(np.isin(slates.members, note.members))
    assert len(rows) == len(note.members) > 0
    others = np.setdiff1d(np.arange(200), rows)
    for name, values in before.items():
        np.testing.assert_array_equal(getattr(hand.slates, name), values)
        np.testing.assert_array_equal(getattr(slates, name)[others], values[others])
    place = {int(member): row for row, member in enumerate(slates.members)}
    for member, slot, out, into, loss in zip(
        note.members, note.slot, note.out, note.into, note.loss, strict=True
    ):
        row = place[int(member)]
        changed = np.flatnonzero(slates.sales[row] != before["sales"][row])
        assert changed.tolist() == [slot]
        assert (before["sales"][row, slot], slates.sales[row, slot]) == (out, into)
        assert into in hand.spare.sales[row]
        assert not before["flags"][row, slot] & FLAG_PINNED
        shown = slates.sales[row] != NONE
        assert (np.isnan(slates.log_propensity[row]) == shown).all()
        assert (((slates.flags[row] & FLAG_REPAIRED) > 0) == shown).all()
        assert (slates.reason[row, slot], slates.evidence[row, slot]) == (Reason.NOTHING, NONE)
        gain, was = (ordered_sum(parts[row, slot]) for parts in (slates.parts, before["parts"]))
        assert slates.margin[row, slot] == -loss == gain - was
        if most:
            brands = BRAND[groups().columns(slates.sales[row])]
            stood = BRAND[groups().columns(before["sales"][row])]
            mine = brands[slot]
            assert (brands[shown] == mine).sum() <= max(most, (stood[shown] == mine).sum())


@settings(max_examples=20)
@given(seed=st.integers(0, 9_999), lower=st.floats(0.1, 0.4))
def test_the_cheapest_swaps_are_made(seed: int, lower: float) -> None:
    hand = made(seed, popular=0.5)
    promises = hand.promises(Bound(group="sale 1", lower=lower))
    _, note = hand.repaired(promises)
    losses = []
    kept, offered = (
        ordered_sum(np.moveaxis(parts, -1, 0)) for parts in (hand.slates.parts, hand.spare.parts)
    )
    free = (hand.slates.sales != NONE) & ~((hand.slates.flags & FLAG_PINNED) > 0)
    for row, place in zip(*np.nonzero(hand.spare.sales == SHELF[1]), strict=True):
        if free[row].any():
            losses.append(float(kept[row][free[row]].min() - offered[row, place]))
    num = len(note.loss)
    assert num == max(
        0, int(np.ceil(lower * 200 - 1e-9)) - int((hand.slates.sales == SHELF[1]).sum())
    )
    np.testing.assert_allclose(np.sort(note.loss), sorted(losses)[:num], atol=1e-6)


def test_slates_that_keep_their_promises_stay_as_they_are() -> None:
    hand = made(1)
    slates, note = hand.repaired(hand.promises(Bound(group="sale 7", lower=0.1)), most=0.0)
    for name in Slates.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(slates, name), getattr(hand.slates, name))
    assert (len(note.members), note.share) == (0, 0.0)


def test_swaps_do_not_depend_on_the_order_of_members() -> None:
    hand = made(2)
    coarse = replace(hand.spare, parts=np.zeros_like(hand.spare.parts))
    level = replace(hand.slates, parts=np.zeros_like(hand.slates.parts))
    hand = Made(level, coarse, hand.segment)
    order = np.random.default_rng(0).permutation(200)
    mixed = Made(
        Slates(**{f.name: getattr(level, f.name)[order] for f in fields(Slates)}),
        replace(coarse, sales=coarse.sales[order], parts=coarse.parts[order]),
        hand.segment[order],
    )
    promises = hand.promises(MENDABLE[0])
    chosen = [set(one.repaired(promises)[1].members.tolist()) for one in (hand, mixed)]
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) > 3


def test_a_part_of_the_audience_mends_what_everyone_was_promised() -> None:
    hand = made(3)
    promises = hand.promises(*MENDABLE[:2])
    twice = hand.exposure(promises)
    everyone = Exposure(twice.shown * 2, twice.members * 2)
    slates, note = hand.repaired(promises, exposure=everyone)
    assert not Room.of(promises, note.exposure).need.any()
    assert note.share == len(note.members) / 400
    np.testing.assert_array_equal(
        note.exposure.shown, everyone.shown + hand.exposure(promises, slates).shown - twice.shown
    )


def test_too_many_swaps_are_refused_and_what_is_missed_is_named() -> None:
    hand = made(4)
    promises = hand.promises(Bound(group="sale 0", lower=0.5), MENDABLE[1])
    with pytest.raises(GateError, match=r"at most 0.50% of members(.|\n)*sale 0: 0.0.*missed by"):
        hand.repaired(promises, most=0.005)
    needed = len(hand.repaired(promises)[1].members)
    hand.repaired(promises, most=needed / 200)
    with pytest.raises(GateError, match="promises are not kept"):
        hand.repaired(promises, most=(needed - 1) / 200)


def test_where_no_swap_is_left_nothing_is_returned() -> None:
    hand = made(5)
    # what the one promise needs the other forbids
    blocked = hand.promises(Bound(group="sale 0", lower=0.3), Bound(group="brand 0", upper=0.2))
    with pytest.raises(GateError, match="do not mend them"):
        hand.repaired(blocked)
    none = replace(hand.spare, sales=np.full_like(hand.spare.sales, NONE))
    with pytest.raises(GateError, match="sale 0"):
        Made(hand.slates, none, hand.segment).repaired(hand.promises(MENDABLE[0]))
    pinned = replace(hand.slates, flags=np.full_like(hand.slates.flags, FLAG_PINNED))
    with pytest.raises(GateError, match="sale 0"):
        Made(pinned, hand.spare, hand.segment).repaired(hand.promises(MENDABLE[0]))


def test_two_bounds_that_are_one_are_kept_to_the_next_whole_member() -> None:
    hand = made(6, num=201)
    promises = hand.promises(Bound(group="sale 4", lower=0.4, upper=0.4))
    _, note = hand.repaired(promises)
    assert note.exposure.shown.sum(axis=0)[4] == 81


def test_an_explored_slot_may_be_swapped_and_stays_known_as_one() -> None:
    hand = made(7)
    slates = replace(hand.slates, flags=np.full_like(hand.slates.flags, FLAG_EXPLORED))
    slates, note = Made(slates, hand.spare, hand.segment).repaired(hand.promises(MENDABLE[0]))
    rows = np.isin(slates.members, note.members)
    assert set(slates.flags[rows].ravel().tolist()) <= {
        FLAG_EXPLORED,
        FLAG_EXPLORED | FLAG_REPAIRED,
    }


def test_a_spare_sale_that_is_on_the_slate_is_an_error() -> None:
    hand = made(8)
    sales = hand.spare.sales.copy()
    sales[5, 0] = hand.slates.sales[5, 0]
    with pytest.raises(ValueError, match="a spare sale is on the slate already"):
        Made(hand.slates, replace(hand.spare, sales=sales), hand.segment).repaired(
            hand.promises(MENDABLE[0])
        )
