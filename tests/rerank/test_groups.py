"""Names that promises use: what they stand for, and what is said where they stand for nothing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from recsys.domain.arrays import NONE
from recsys.domain.errors import SettingError
from recsys.domain.shelf import Shelf
from recsys.rerank.groups import groups_of, segments_of

INFO = pl.DataFrame({
    "sale": ["s0", "s1", "s2", "s3"],
    "brand": ["Acme", None, "Acme", "Brio"],
    "category": ["shoes", "shoes", None, "bags"],
})
SHELF = Shelf(
    at=0, sales=np.array([1, 2, 3], dtype=np.int32), curated=np.array([True, False, True])
)
MEMBERS = pl.DataFrame({
    "member": ["a", "b", "c", "d"],
    "tier": ["gold", "blue", None, "gold"],
    "children": [1, 2, 0, 0],
})


def test_a_name_stands_for_sales_of_the_shelf() -> None:
    names = ["curated", "sale=s2", "brand=Acme", "category=shoes", "brand=Acme", "sale=s0"]
    found = groups_of(names, SHELF, INFO)
    assert found.names == ("curated", "sale=s2", "brand=Acme", "category=shoes", "sale=s0")
    assert found.sales.tolist() == [1, 2, 3]
    assert found.holds.tolist() == [
        [True, False, True],
        [False, True, False],
        [False, True, False],
        [True, False, False],
        [False, False, False],
    ]
    assert groups_of([], SHELF, INFO).holds.shape == (0, 3)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("acme", "possible: curated, sale=..., brand=..., category=..."),
        ("brand=", "no group of sales is called 'brand='"),
        ("maker=Acme", "no group of sales is called 'maker=Acme'"),
        ("brand=Acne", "near: Acme"),
        ("sale=zzz", "no sale is called 'zzz'"),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused(name: str, said: str) -> None:
    with pytest.raises(SettingError) as refused:
        groups_of([name], SHELF, INFO)
    assert said in str(refused.value)


def test_a_member_is_in_the_first_segment_that_holds() -> None:
    found = segments_of(["tier=gold", "children=0"], MEMBERS)
    assert found.tolist() == [0, NONE, 1, 0]
    assert segments_of([], MEMBERS).tolist() == [NONE] * 4


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gold", "possible: COLUMN=VALUE, with a column of member, tier, children"),
        ("tier=", "no segment of members is called 'tier='"),
        ("tier=red", "values: blue, gold"),
    ],
)
def test_a_segment_of_nobody_is_refused(name: str, said: str) -> None:
    with pytest.raises(SettingError) as refused:
        segments_of([name], MEMBERS)
    assert said in str(refused.value)
