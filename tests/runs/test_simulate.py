from __future__ import annotations

import pytest

from recsys.runs.simulate import simulate, table
from recsys.runs.spec import Simulate
from recsys.world import FlashSales
from recsys.world import simulate as play_forward

WORLD = FlashSales(members=300, days=5)


def test_a_line_a_day_and_their_sum_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    simulate(Simulate(data=WORLD, policy="popular", days=3))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  world    300 members, 5 days played by editors"
    assert lines[1] == "  policy   popular, 3 days more"
    assert [line.split()[0] for line in lines[2:]] == ["day", "5", "6", "7", "all"]
    assert all(len(line) <= 80 for line in lines)


def test_the_last_line_sums_the_days() -> None:
    days = play_forward(WORLD, "popular", 3)
    rows = table(days)
    visits = [int(row[1].replace(",", "")) for row in rows[1:]]
    assert visits[-1] == sum(visits[:-1]) == sum(day.visits for day in days) > 0
