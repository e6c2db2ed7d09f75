from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import pytest
import yaml
from pydantic import TypeAdapter

from recsys.data.contract import check
from recsys.domain.errors import SettingError
from recsys.runs.prepare import raw
from recsys.runs.simulate import played, simulate, table
from recsys.runs.spec import Data, Simulate
from recsys.world import FlashSales, play
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


def test_a_past_written_down_is_read_by_the_config_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shop"
    simulate(Simulate(data=WORLD, out=str(out), processes=1))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "played   " in line] == [
        f"  played   day {day} of 5" for day in range(1, 6)
    ]
    assert lines[-1] == "  recsys check data=shop"
    assert all(len(line) <= 80 for line in lines if str(tmp_path) not in line)
    config = yaml.safe_load((out / "shop.yaml").read_text(encoding="utf-8"))
    source = TypeAdapter[Data](Data).validate_python(config)
    tables, _ = raw(source)
    ours, theirs = check(tables, source).dataset, check(play(WORLD).tables(), WORLD).dataset
    assert ours.name == theirs.name
    assert ours.events.member_ptr.tolist() == theirs.events.member_ptr.tolist()
    assert ours.events.at.tolist() == theirs.events.at.tolist()
    assert ours.exposures.equals(theirs.exposures)


def test_a_past_that_is_written_is_not_written_over(tmp_path: Path) -> None:
    spec = Simulate(data=FlashSales(members=60, days=2), out=str(tmp_path), processes=1)
    simulate(spec)
    with pytest.raises(SettingError, match="tables is there already"):
        simulate(spec)
    shutil.rmtree(tmp_path / "tables")
    other = spec.model_copy(update={"data": FlashSales(members=60, days=3)})
    with pytest.raises(SettingError, match=r"another world: days=2"):
        simulate(other)
