"""What is said of runs in turn: a ratio beside its own run, and no verdict across a bar."""

from __future__ import annotations

import json

import pytest

from benchmarks.scaling import slope
from benchmarks.turns import Row, Spread, Took, in_turn, line, ratio, verdict


def test_each_run_is_compared_with_the_one_of_its_turn() -> None:
    slow_day, quiet_day = 10.0, 1.0
    ours = [Took(100, slow_day, 2.0), Took(100, quiet_day, 2.0), Took(100, quiet_day, 2.0)]
    theirs = [Took(50, slow_day, 2.0), Took(50, quiet_day, 1.0), Took(25, quiet_day, 1.0)]
    assert ratio(ours, theirs) == Spread(2.0, 2.0, 4.0, 3)
    assert ratio(ours, theirs, processor=True) == Spread(2.0, 1.0, 2.0, 3)


@pytest.mark.parametrize(
    ("low", "high", "said"), [(2.0, 3.0, "met"), (1.0, 1.9, "missed"), (1.9, 2.1, "undecided")]
)
def test_a_range_across_the_bar_decides_nothing(low: float, high: float, said: str) -> None:
    assert verdict(Spread(2.0, low, high, 5), 2.0) == said


def test_what_is_to_stay_small_is_judged_the_other_way_round() -> None:
    assert verdict(Spread(2.0, 1.0, 2.0, 5), 2.0, at_most=True) == "met"
    assert verdict(Spread(2.0, 2.1, 3.0, 5), 2.0, at_most=True) == "missed"
    assert verdict(Spread(2.0, 1.0, 3.0, 5), 2.0, at_most=True) == "undecided"


def test_runs_take_turns_and_the_first_is_not_counted() -> None:
    told: list[str] = []

    def run(name: str) -> Took:
        told.append(name)
        return Took(len(told), 1.0, 1.0)

    found = in_turn({"a": lambda: run("a"), "b": lambda: run("b")}, pairs=2)
    assert told == ["a", "b"] * 3
    assert [one.work for one in found["a"]] == [3, 5]
    assert [one.work for one in found["b"]] == [4, 6]


def test_the_last_line_of_a_benchmark_is_json() -> None:
    row = Row.of("ours", Spread(1.23456, 1.0, 2.0, 3), "times", ratio_to="theirs")
    assert json.loads(line("speed", [row], load=(1.5, None))) == {
        "benchmark": "speed",
        "load": [1.5, None],
        "rows": [
            {
                "name": "ours",
                "value": 1.235,
                "unit": "times",
                "low": 1.0,
                "high": 2.0,
                "n": 3,
                "ratio_to": "theirs",
            }
        ],
    }


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_a_slope_is_the_power_by_which_a_cost_grows(power: float) -> None:
    sizes = [100.0, 200.0, 400.0, 800.0]
    assert slope(sizes, [3 * size**power for size in sizes]) == pytest.approx(power, abs=1e-9)
