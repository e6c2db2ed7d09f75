from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recsys.campaign.bounds import Bound, Exposure, Promises, exposure
from recsys.domain.arrays import I16, I64, NONE
from recsys.domain.errors import SettingError
from recsys.domain.prices import Groups
from recsys.domain.slates import PARTS, Slates

SHELF = np.array([4, 8, 15, 16, 23])
GROUPS = Groups(
    sales=SHELF,
    names=("curated", "acme", "empty"),
    holds=np.array([[1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]], dtype=np.bool_),
)
BOUNDS = (
    Bound(group="curated", lower=0.5),
    Bound(group="acme", upper=1.5),
    Bound(group="curated", lower=0.1, upper=0.9, segment="south"),
)
PROMISES = Promises(bounds=BOUNDS, groups=GROUPS, segments=("north", "south"))


def slates_of(members: I64, columns: I64) -> Slates:
    """Slates that show columns of the shelf; 99 is a sale that is not on it."""
    shape = columns.shape
    zeros = np.zeros(shape, dtype=np.float32)
    return Slates(
        members=members,
        sales=np.where(columns == 99, 99, np.where(columns == NONE, NONE, SHELF[columns % 5])),
        parts=np.zeros((*shape, len(PARTS)), dtype=np.float32),
        margin=zeros,
        log_propensity=zeros,
        reason=np.zeros(shape, dtype=np.uint8),
        evidence=np.full(shape, NONE, dtype=np.int64),
        flags=np.zeros(shape, dtype=np.uint8),
    )


def drawn(seed: int, num: int) -> tuple[I64, I16]:
    """Columns of slates without repeats, some shorter or empty, and segments."""
    rng = np.random.default_rng(seed)
    columns = rng.random((num, 5)).argsort(axis=1)[:, :3]
    columns[np.arange(3) >= rng.integers(0, 4, num)[:, None]] = NONE
    return columns, rng.integers(-1, 2, num).astype(np.int16)


@pytest.mark.parametrize(
    ("settings_", "said"),
    [
        ({"lower": 0.4, "upper": 0.3}, "curated: lower 0.4 is above upper 0.3"),
        ({"lower": 0.4, "upper": 0.3, "segment": "south"}, "curated in south: lower"),
        ({}, "curated: neither lower nor upper"),
        ({"lower": -0.1}, "greater than or equal to 0"),
        ({"lower": float("nan")}, "greater than or equal to 0"),
        ({"lower": 0.1, "group": ""}, "at least 1 character"),
    ],
)
def test_a_bound_that_cannot_be_meant_is_refused_by_name(
    settings_: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        Bound(**{"group": "curated", **settings_})


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ((Bound(group="akme", lower=0.1),), "akme is promised, but no group is called 'akme'"),
        (
            (Bound(group="acme", lower=0.1, segment="west"),),
            "acme in west is promised, but no segment",
        ),
        ((Bound(group="empty", upper=0.1),), "empty is promised, but the group has no sale"),
        (
            (Bound(group="acme", lower=0.1), Bound(group="acme", upper=0.3)),
            "bounded twice: acme",
        ),
    ],
)
def test_a_bound_on_what_is_not_there_is_refused_by_name(
    bounds: tuple[Bound, ...], said: str
) -> None:
    with pytest.raises(SettingError, match=said):
        Promises(bounds=bounds, groups=GROUPS, segments=("north", "south"))


@settings(max_examples=40)
@given(seed=st.integers(0, 999), num=st.integers(3, 40))
def test_a_share_is_the_mean_number_of_a_groups_sales_on_the_slates_of_its_members(
    seed: int, num: int
) -> None:
    columns, segment = drawn(seed, num)
    segment[0] = 1
    shares = Exposure.none(PROMISES).plus(columns, segment).shares(PROMISES)
    for bound, share in zip(BOUNDS, shares, strict=True):
        mine = [
            member
            for member in range(num)
            if bound.segment is None or segment[member] == PROMISES.segments.index(bound.segment)
        ]
        sales = np.flatnonzero(GROUPS.holds[GROUPS.names.index(bound.group)]).tolist()
        seen = sum(int(column in sales) for member in mine for column in columns[member].tolist())
        assert share == pytest.approx(seen / len(mine), abs=1e-12)


@settings(max_examples=25)
@given(seed=st.integers(0, 999), cut=st.integers(0, 30))
def test_what_streams_by_in_chunks_is_counted_as_a_whole(seed: int, cut: int) -> None:
    columns, segment = drawn(seed, 30)
    columns[5:7, 0] = 99
    members = np.random.default_rng(seed).permutation(30)
    of_member = np.empty(30, dtype=np.int16)
    of_member[members] = segment
    chunks = [slates_of(members[:cut], columns[:cut]), slates_of(members[cut:], columns[cut:])]
    counted = exposure(iter(chunks), PROMISES, of_member)
    # a sale that is not on the shelf is on no slate
    whole = Exposure.none(PROMISES).plus(np.where(columns == 99, NONE, columns), segment)
    np.testing.assert_array_equal(counted.shown, whole.shown)
    np.testing.assert_array_equal(counted.members, whole.members)
    assert counted.members.sum() == 30


def test_a_member_who_gets_nothing_counts_as_a_member() -> None:
    columns = np.array([[0, 1], [NONE, NONE]])
    segment = np.array([1, 1], dtype=np.int16)
    shares = Exposure.none(PROMISES).plus(columns, segment).shares(PROMISES)
    assert shares.tolist() == [1.0, 0.5, 1.0]


def test_a_swap_moves_one_sale_of_one_member() -> None:
    columns, segment = drawn(3, 20)
    columns[4] = [0, 1, NONE]
    before = Exposure.none(PROMISES).plus(columns, segment)
    columns[4, 1] = 3
    after = Exposure.none(PROMISES).plus(columns, segment)
    swapped = before.swapped(np.array([1]), np.array([3]), segment[4:5])
    np.testing.assert_array_equal(swapped.shown, after.shown)
    np.testing.assert_array_equal(swapped.members, after.members)


def test_a_promise_to_nobody_is_refused_by_name() -> None:
    counted = Exposure.none(PROMISES).plus(np.array([[0]]), np.array([0], dtype=np.int16))
    with pytest.raises(SettingError, match="curated in south is promised, but there is no such"):
        counted.shares(PROMISES)


def test_what_is_missed_is_told_the_worst_first() -> None:
    shares = np.array([0.4, 1.75, 0.5])
    np.testing.assert_allclose(PROMISES.missed(shares), [0.1, 0.25, 0])
    assert PROMISES.told(shares) == (
        "acme: 1.7500, promised at most 1.5, missed by 0.2500",
        "curated: 0.4000, promised at least 0.5, missed by 0.1000",
    )
    assert PROMISES.told(np.array([0.5, 1.5, 0.9])) == ()
