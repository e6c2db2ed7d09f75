from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F32, NONE
from recsys.domain.errors import BrokenArtefactError, SettingError
from recsys.domain.prices import Groups, Prices, read

AMOUNTS = st.floats(0, 1e6, width=32)
GROUPS = ("curated", "acme", "sale 7")
SEGMENTS = ("north", "south")


def f32(*amounts: float) -> F32:
    return np.array(amounts, dtype=np.float32)


@st.composite
def prices(draw: st.DrawFn) -> Prices:
    num = draw(st.integers(0, 6))

    def drawn(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=num, max_size=num))

    return Prices(
        groups=tuple(drawn(st.sampled_from(GROUPS))),
        segments=tuple(drawn(st.sampled_from([None, *SEGMENTS]))),
        floor=f32(*drawn(AMOUNTS)),
        cap=f32(*drawn(AMOUNTS)),
        missed=f32(*drawn(AMOUNTS)),
    )


def shelf(*sales: int, curated: tuple[int, ...] = (), acme: tuple[int, ...] = ()) -> Groups:
    rows = np.array(sales, dtype=np.int64)
    holds = np.stack([np.isin(rows, curated), np.isin(rows, acme), rows == 7])
    return Groups(sales=rows, names=GROUPS, holds=holds)


ONE = Prices(
    groups=("curated", "acme", "curated"),
    segments=(None, None, "south"),
    floor=f32(0.5, 0, 0.25),
    cap=f32(0, 2, 0),
    missed=f32(0, 0.001, 0),
)


@settings(max_examples=60)
@given(made=prices())
def test_prices_come_back_from_json_to_the_last_bit(made: Prices) -> None:
    again = read(json.loads(json.dumps(made.plain())))
    assert (again.groups, again.segments) == (made.groups, made.segments)
    for name in ("floor", "cap", "missed"):
        np.testing.assert_array_equal(getattr(again, name), getattr(made, name))
        assert getattr(again, name).dtype == np.float32
    assert again.fingerprint == made.fingerprint
    assert again.violation == max([0, *made.missed.tolist()])


def test_each_part_of_the_content_changes_the_fingerprint() -> None:
    others = [
        replace(ONE, groups=("curated", "acme", "sale 7")),
        replace(ONE, segments=(None, None, "north")),
        replace(ONE, floor=f32(0.5, 0, np.nextafter(np.float32(0.25), np.float32(1)))),
        replace(ONE, cap=f32(0, 2, 1e-30)),
        replace(ONE, missed=f32(0, 0.002, 0)),
    ]
    prints = {made.fingerprint for made in (ONE, *others)}
    assert len(prints) == 6
    assert all(len(each) == 16 and int(each, 16) >= 0 for each in prints)
    assert replace(ONE).fingerprint == ONE.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "0" * 16},
        {"bounds": None},
        {"bounds": ONE.plain()["bounds"][:-1]},  # type: ignore[index]  # plain data
        {"bounds": [{"group": "curated"}]},
        {"bounds": [{"group": "a", "segment": None, "floor": -1.0, "cap": 0.0, "missed": 0.0}]},
        {"bounds": [{"group": "a", "segment": None, "floor": "x", "cap": 0.0, "missed": 0.0}]},
    ],
)
def test_what_was_changed_since_or_is_no_price_is_not_read(change: dict[str, Any]) -> None:
    assert read(ONE.plain()).fingerprint == ONE.fingerprint
    with pytest.raises(BrokenArtefactError, match="prices"):
        read({**ONE.plain(), **change})


@pytest.mark.parametrize(
    "change",
    [
        {"floor": f32(1, 2)},
        {"floor": f32(1, 2, -1)},
        {"cap": f32(1, np.nan, 1)},
        {"cap": f32(1, np.inf, 1)},
        {"missed": np.zeros(3)},
        {"segments": (None,)},
    ],
)
def test_what_is_no_price_cannot_be_built(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"found|have"):
        replace(ONE, **change)


def test_a_sale_has_the_sum_of_the_prices_of_its_groups_and_of_the_members_segment() -> None:
    tariff = ONE.tariff(shelf(3, 5, 9, 11, curated=(3, 5), acme=(5, 9)), SEGMENTS)
    north, south, none = 0, 1, NONE
    for segment, curated in ((north, 0.5), (south, 0.75), (none, 0.5)):
        assert tariff.floor[segment].tolist() == [curated, curated, 0, 0]
        assert tariff.cap[segment].tolist() == [0, -2, -2, 0]


@settings(max_examples=40)
@given(made=prices(), seed=st.integers(0, 99))
def test_a_tariff_is_what_adding_up_by_hand_gives(made: Prices, seed: int) -> None:
    rng = np.random.default_rng(seed)
    holds = rng.random((3, 5)) < 0.5
    groups = Groups(sales=rng.permutation(20)[:5], names=GROUPS, holds=holds)
    tariff = made.tariff(groups, SEGMENTS)
    assert (tariff.floor >= 0).all()
    assert (tariff.cap <= 0).all()
    for row, segment in enumerate((*SEGMENTS, None)):
        for column in range(5):
            mine = [
                bound
                for bound, (group, of) in enumerate(zip(made.groups, made.segments, strict=True))
                if of in {None, segment} and holds[GROUPS.index(group), column]
            ]
            floor = sum(float(made.floor[bound]) for bound in mine)
            cap = sum(float(made.cap[bound]) for bound in mine)
            assert tariff.floor[row, column] == np.float32(floor)
            assert tariff.cap[row, column] == -np.float32(cap)


def test_a_sale_that_is_added_later_has_its_groups_price() -> None:
    stored = json.dumps(ONE.plain())
    later = shelf(3, 5, 9, 11, 40, curated=(3, 5, 40), acme=(5, 9))
    before = ONE.tariff(shelf(3, 5, 9, 11, curated=(3, 5), acme=(5, 9)), SEGMENTS)
    after = read(json.loads(stored)).tariff(later, SEGMENTS)
    np.testing.assert_array_equal(after.floor[:, :4], before.floor)
    np.testing.assert_array_equal(after.cap[:, :4], before.cap)
    np.testing.assert_array_equal(after.floor[:, 4], before.floor[:, 0])
    assert (after.floor[:, 4] > 0).all()


def test_a_group_that_is_not_on_the_shelf_prices_nothing() -> None:
    empty = Groups(sales=np.array([1, 2]), names=("else",), holds=np.ones((1, 2), dtype=np.bool_))
    tariff = ONE.tariff(empty, SEGMENTS)
    assert not tariff.floor.any()
    assert not tariff.cap.any()


def test_prices_of_a_segment_that_is_not_known_are_refused_by_name() -> None:
    with pytest.raises(SettingError, match="south"):
        ONE.tariff(shelf(1, 2), ("north",))


def test_floor_and_cap_are_looked_up_for_each_member_and_sale_in_question() -> None:
    tariff = ONE.tariff(shelf(3, 5, 9, 11, curated=(3, 5), acme=(5, 9)), SEGMENTS)
    segment = np.array([1, NONE, 0], dtype=np.int16)
    floor, cap = tariff.of(segment, np.array([[1, 3], [2, 0], [0, 1]]))
    assert floor.tolist() == [[0.75, 0], [0, 0.5], [0.5, 0.5]]
    assert cap.tolist() == [[-2, 0], [-2, 0], [0, -2]]
    assert floor.dtype == cap.dtype == np.float32
    shared, _ = tariff.of(segment, np.array([[1, 3]]))
    assert shared.tolist() == [[0.75, 0], [0.5, 0], [0.5, 0]]


def test_columns_are_the_places_of_sales_on_the_shelf() -> None:
    groups = shelf(9, 3, 30)
    found = groups.columns(np.array([[30, NONE, 9], [3, 4, 99]]))
    assert found.tolist() == [[2, NONE, 0], [1, NONE, NONE]]
    assert shelf().columns(np.array([2, NONE])).tolist() == [NONE, NONE]


@pytest.mark.parametrize(
    "change",
    [
        {"names": ("a", "a", "b")},
        {"names": ("a", "b")},
        {"sales": np.array([3, 3])},
    ],
)
def test_groups_that_do_not_fit_their_shelf_cannot_be_built(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"found|one name|twice"):
        replace(shelf(1, 2), **change)
