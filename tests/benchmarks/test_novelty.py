"""Ways to show what is new, on slates that can be counted by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks.novelty import PROMISED_ERROR, Evidence, foretold, level, ways
from benchmarks.turns import Row
from recsys.data.contract import check
from recsys.domain.schema import Schema
from recsys.domain.tables import Tables
from recsys.public.spec import CompleteJourney


def seen(num: int = 200, sales: int = 60, seed: int = 5) -> Evidence:
    """Chances that are true; some members like what is new, most do not."""
    rng = np.random.default_rng(seed)
    new = rng.random((num, sales)) < 0.6
    gladly = rng.beta(0.5, 2, (num, 1))
    value = (rng.beta(1, 6, (num, sales)) * np.where(new, gladly, 1)).astype(np.float32)
    hit = rng.random((num, sales)) < value
    return Evidence(value, new, hit, rng.random(num).astype(np.float32))


def test_fixed_slots_hold_the_best_that_is_new() -> None:
    """By value 0, 1 ... 24, of which the last four are new: two slots take 21 and 22."""
    value = -np.arange(25, dtype=np.float32)[None]
    new, hit = np.arange(25)[None] >= 21, np.zeros((1, 25), dtype=np.bool_)
    hit[0, [0, 17, 18, 19, 22, 23]] = True
    one = Evidence(value, new, hit, np.ones(1, dtype=np.float32))
    assert [int(found[0]) for found in one.reserved(np.array([2]))] == [3, 1]
    assert [int(found[0]) for found in one.reserved(np.array([0]))] == [4, 0]
    assert [int(found[0]) for found in one.reserved(np.array([3]))] == [3, 2]


def test_a_boost_and_a_price_of_nothing_are_value_alone() -> None:
    world = seen()
    for found in (world.boosted(0.0), world.priced(0.0)):
        for one, other in zip(found, world.shown(world.value), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_level_brings_as_many_discoveries_as_were_wanted() -> None:
    world = seen()
    wanted = float(world.reserved(np.full(200, 6))[1].mean())
    dial = level(world.boosted, wanted, most=200.0)
    assert world.boosted(dial)[1].mean() >= wanted
    assert world.boosted(0.9 * dial)[1].mean() <= wanted


def test_where_chances_are_true_a_boost_beats_slots(capsys: pytest.CaptureFixture[str]) -> None:
    rows = ways(seen(num=2_000))
    assert [row.name for row in rows] == [f"boost over {n} fixed slots" for n in (2, 4, 6)]
    assert all(row.low <= row.value <= row.high for row in rows)
    assert rows[-1].low > 0
    assert "no novelty" in capsys.readouterr().out


def test_members_who_differ_are_foretold_better_than_by_one_mean() -> None:
    rng = np.random.default_rng(3)
    drawn = []
    for member in range(120):
        gladly, met = 0.1 + 0.8 * rng.random(), 0
        for day in range(0, 300, 3):
            if rng.random() < gladly or not met:
                met += 1
                brand = met
            else:
                brand = 1 + int(rng.integers(met))
            drawn.append((f"m{member}", f"b{brand}", day))
    start = pl.datetime(2020, 1, 1, time_zone="UTC", time_unit="us")
    events = pl.DataFrame(drawn, schema=["member", "sale", "day"], orient="row").select(
        "member", "sale", at=start + pl.duration(days="day"), kind=pl.lit("purchase")
    )
    sales = events.select(pl.col("sale").unique()).with_columns(brand="sale")
    tables = Tables("hand", "UTC", Schema(), sales, events, task="endless")
    rows: list[Row] = foretold(check(tables, CompleteJourney()).dataset)
    assert rows[0].value < PROMISED_ERROR
    assert rows[1].value > 0
