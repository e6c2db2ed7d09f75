"""The eyes that read slates see what is planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.hard_rules import AT, broken, drawn, slates_of
from recsys.domain.arrays import NONE


@pytest.mark.parametrize("seed", range(5))
def test_no_rule_is_broken_in_small(seed: int) -> None:
    world = drawn(seed)
    slates = slates_of(world)
    assert (slates.sales != NONE).any()
    assert not sum(broken(world, slates).values())


def test_each_kind_of_breach_is_seen() -> None:
    world = drawn(4)
    slates = slates_of(world)
    open_now = world.shop.shelf(AT).sales
    closed = int(np.setdiff1d(np.arange(60), open_now)[0])
    planted = slates.sales.copy()
    planted[0, :2] = planted[0, 0]
    planted[1, 0] = closed
    planted[2, 2] = NONE
    found = broken(world, replace(slates, sales=planted))
    assert found["twice"] == 1
    assert found["closed"] + found["sold out"] >= 1
    free = replace(world, rules=world.rules.clear())
    assert broken(free, replace(slates, sales=planted))["a gap"] == 1
    ban = world.rules.head(1).with_columns(
        kind=world.rules["kind"].head(1).replace_strict({"pin": "ban"}, default="ban")
    )
    ban = ban.with_columns(
        from_at=ban["from_at"].dt.offset_by("-3d"), until_at=ban["until_at"].dt.offset_by("9d")
    )
    sale = int(ban["sale"][0][1:])
    planted[3, 0] = sale
    assert broken(replace(world, rules=ban), replace(slates, sales=planted))["banned"] >= 1


def test_a_slot_that_the_shelf_could_have_filled_is_seen() -> None:
    world = drawn(3)
    slates = slates_of(world)
    planted = slates.sales.copy()
    planted[:7, -1] = NONE
    lost = int((slates.sales[:7, -1] != NONE).sum())
    assert broken(world, replace(slates, sales=planted))["too short"] == lost > 0
