from __future__ import annotations

from typing import Literal

import pytest

from recsys.runs.simulate import played, simulate, table
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


@pytest.mark.parametrize("policy", ["value", "slots", "stack"])
def test_a_policy_of_ours_meets_the_sales_and_visits_of_the_others(
    policy: Literal["value", "slots", "stack"],
) -> None:
    world = FlashSales(members=400, days=11, test_days=1)
    ours = played(Simulate(data=world, policy=policy, days=2))
    others = play_forward(world, "popular", 2)
    assert [day.day for day in ours] == [day.day for day in others] == [11, 12]
    assert ours[0].mails == others[0].mails
    assert ours[0].views != others[0].views
