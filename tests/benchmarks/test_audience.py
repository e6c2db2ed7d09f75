from __future__ import annotations

import numpy as np

from benchmarks.audience import Ran, repeated, rows_of
from benchmarks.turns import Took
from tests.builders import tiny_dataset
from tests.serve.conftest import parts_of


def test_members_who_are_repeated_have_the_same_slates() -> None:
    parts = parts_of(tiny_dataset(members=20, days=6))
    large = repeated(parts, 50)
    assert large.shop.num_members == len(set(large.members.ids)) == 50
    own = np.flatnonzero(parts.personalise)
    shelf = parts.shop.shelf(parts.decided_at)
    before, after = (
        one.slates(own + more, shelf, slots=6) for one, more in ((parts, 0), (large, 20))
    )
    # the last slot may be drawn, by the row of a member
    np.testing.assert_array_equal(before.sales[:, :5], after.sales[:, :5])
    np.testing.assert_array_equal(before.parts[:, :5], after.parts[:, :5])


def test_seconds_have_a_bar_only_where_members_are_many() -> None:
    ran = {"taste alone": Ran(Took(1_000_000, 30.0, 50.0), 900.0, 10.0)}
    few, many = ({row.name: row for row in rows_of(ran, members)} for members in (1_000, 1_000_000))
    assert few["taste alone: seconds"].bar is None
    assert many["taste alone: seconds"].bar == 36
    assert many["taste alone: seconds"].verdict == "met"
    assert many["taste alone: anonymous"].verdict == "met"
