"""The shop of the allocator's promises, and the optimum they are held against."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from benchmarks.allocate import (
    Crowd,
    against_optimum,
    carried_over,
    crowd,
    optimum,
    promised,
    shares_of,
    shelf_of,
)
from recsys.campaign.bounds import Bound, Promises
from recsys.domain.arrays import NONE
from recsys.rerank.diversity import Mmr


def test_other_members_stand_before_the_same_sales() -> None:
    one, other = crowd(50, seed=1), crowd(50, seed=2)
    np.testing.assert_array_equal(one.unit, other.unit)
    assert (one.value != other.value).all()
    np.testing.assert_array_equal(one.value, crowd(50, seed=1).value)
    spread = one.value.std(axis=1)
    assert spread.max() > 5 * spread.min() > 0
    assert (one.segment == NONE).all()
    assert set(crowd(50, seed=1, segments=2).segment.tolist()) == {0, 1}


def test_the_promises_are_those_of_the_measurement() -> None:
    promises = promised()
    assert len(promises.bounds) == 40
    assert promises.lower.tolist() == [0.2] * 4 + [0.05] * 36
    assert promises.upper.tolist() == [0.35] * 40
    assert shelf_of().named(["curated"])[0].sum() == 4


def test_the_optimum_is_that_of_trying_all_slates() -> None:
    rng = np.random.default_rng(3)
    members = Crowd(
        value=rng.random((4, 3)).astype(np.float32),
        eligible=np.array([[1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 1, 1]], dtype=np.bool_),
        unit=np.eye(3, dtype=np.float32),
        segment=np.full(4, NONE, dtype=np.int16),
    )
    bounds = (Bound(group="sale 0", lower=0.75), Bound(group="sale 1", upper=0.5))
    promises = Promises(bounds=bounds, groups=shelf_of(3, curated=1))
    worth = []
    for slates in product(combinations(range(3), 2), repeat=4):
        columns = np.array(slates)
        if not np.take_along_axis(members.eligible, columns, axis=1).all():
            continue
        if promises.missed(shares_of(members, promises, columns)).any():
            continue
        worth.append(members.worth(columns))
    assert len(worth) > 3
    # shares are whole members here, so showing sales in parts gains nothing
    assert optimum(members, promises, slots=2) == pytest.approx(max(worth))


def test_what_cannot_be_kept_has_no_optimum() -> None:
    promises = Promises(bounds=(Bound(group="sale 0", lower=1.0),), groups=shelf_of())
    with pytest.raises(ValueError, match=r"(?i)infeasible"):
        optimum(crowd(40, seed=1), promises, slots=6)


def test_the_benchmark_tells_its_bars_and_whether_they_are_met() -> None:
    rows = [*against_optimum(200), *carried_over(Mmr(), 200, 300)]
    assert [row.bar for row in rows] == [0.005, 0.005, None, None, 0.002, None, 5.0]
    assert [row.verdict for row in rows[:2]] == ["met", "met"]
    assert 0 < rows[5].value < 1
