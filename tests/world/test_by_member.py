from __future__ import annotations

import numpy as np
import pytest

from recsys.data.contract import check
from recsys.domain.dataset import Dataset
from recsys.domain.events import Channel, Events
from recsys.world import FlashSales, Past, by_member, play, stream

SPEC = FlashSales(members=700, days=9)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    return stream(SPEC, tmp_path_factory.mktemp("past"), block=64)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return check(play(SPEC).tables(), SPEC).dataset


def test_events_by_member_are_those_of_the_dataset(past: Past, dataset: Dataset) -> None:
    ours, theirs = past.events, dataset.events
    # in the shop the dataset goes by the id that was shown there, which may be another's
    people = (theirs.channel != Channel.SHOP) & (theirs.member < len(past.world.members))
    same_events(
        ours.where(ours.channel != Channel.SHOP), theirs.where(people), members=SPEC.num_members
    )
    assert (ours.channel == Channel.SHOP).sum() == (theirs.channel == Channel.SHOP).sum()
    assert len(ours) == len(theirs)


def test_history_by_member_is_what_the_dataset_learns_from(past: Past, dataset: Dataset) -> None:
    consent = dataset.members["consent_personalise"].to_numpy()[: SPEC.num_members]
    np.testing.assert_array_equal(consent, past.world.members.consent_personalise)
    events, theirs = past.history, dataset.history
    assert 0 < len(events) < len(past.events)
    same_events(
        events.where(events.channel != Channel.SHOP),
        theirs.where((theirs.channel != Channel.SHOP) & (theirs.member < SPEC.num_members)),
        members=SPEC.num_members,
    )


def same_events(one: Events, other: Events, *, members: int) -> None:
    for name in ("sale", "at", "kind", "channel", "flags", "value"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert getattr(one, name).dtype == getattr(other, name).dtype, name
    np.testing.assert_array_equal(one.member_ptr, other.member_ptr[: members + 1])


def test_events_of_one_instant_stand_in_the_order_of_a_dataset() -> None:
    flags, sale = np.array([0, 0, 0, 0, 0], np.uint8), np.array([1, 7, 5, 6, 2], np.int32)
    member, at = np.array([0, 1, 1, 1, 2]), np.array([5, 5, 5, 6, 6])
    kind = channel = flags
    order = by_member._order_of_ties({
        "member": member, "at": at, "sale": sale, "kind": kind, "channel": channel, "flags": flags
    })  # fmt: skip
    assert order is not None
    np.testing.assert_array_equal(order, [0, 2, 1, 3, 4])


def test_sorted_events_are_mapped_and_not_loaded(past: Past) -> None:
    for name in ("sale", "at", "member_ptr"):
        array = getattr(past.history, name)
        while array.base is not None and not isinstance(array, np.memmap):
            array = array.base
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
