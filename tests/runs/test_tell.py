from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from recsys.domain.report import Estimate, Report
from recsys.runs import tell
from recsys.runs.console import Console
from recsys.runs.prepare import prepare
from recsys.towers.job import EpochRow
from recsys.world.spec import FlashSales

ROW = EpochRow(
    epoch=1,
    loss=3.25,
    ndcg_at_10=0.125,
    recall_at_10=0.25,
    day0_ndcg_at_10=0.0625,
    best=True,
    requests_per_second=12_345.6,
    seconds=61.2,
    tau=0.07,
    skipped=0,
)


def told(file: Path, *rows: EpochRow) -> tell.Curve:
    curve = tell.Curve(Console(quiet=True), file)
    for row in rows:
        curve(row)
    return curve


def test_an_epoch_is_one_aligned_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curve = tell.Curve(Console(), tmp_path / "metrics.csv")
    curve(ROW)
    _, head, line = capsys.readouterr().out.splitlines()
    assert line == ("     1   3.250      0.1250 best             0.2500       12,346    1:01")
    assert len(head) == len(line)


def test_the_best_epoch_so_far_is_one(tmp_path: Path) -> None:
    rows = [replace(ROW, epoch=n, best=n in {1, 2}) for n in (1, 2, 3)]
    curve = told(tmp_path / "metrics.csv", *rows)
    assert [(row.epoch, row.best) for row in curve.rows] == [(1, False), (2, True), (3, False)]


def test_a_run_that_goes_on_keeps_the_epochs_it_had(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    before = told(file, ROW, replace(ROW, epoch=2, best=False))
    after = told(file)
    assert after.rows == before.rows
    went_on = told(file, replace(ROW, epoch=2, best=True), replace(ROW, epoch=3, best=False))
    assert [(row.epoch, row.best) for row in went_on.rows] == [(1, False), (2, True), (3, False)]
    with file.open() as lines:
        assert len(list(csv.DictReader(lines))) == 4
    assert tell.epochs_in(tmp_path / "none.csv") == []


def test_a_line_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    told(file, ROW)
    with file.open("a") as lines:
        lines.write("2,3.1,0.2")
    assert [row.epoch for row in tell.epochs_in(file)] == [1]


def report() -> Report:
    def at(value: float) -> dict[str, dict[str, Estimate]]:
        found = Estimate(value=value, low=value - 0.02, high=value + 0.04, n=9)
        return {"all": {"mrr": found}}

    values = {"popular": 0.3, "oracle": 0.9, "taste": 0.2, "random": 0.1, "editor": 0.4}
    return Report(scorers={name: at(value) for name, value in values.items()}, headline="mrr")


def test_ours_stand_first_then_baselines_from_the_best_down_then_the_truth() -> None:
    order = tell.ranked(report(), "all", "mrr")
    assert order == ["taste", "editor", "popular", "random", "oracle"]
    assert [tell.label(name) for name in ("taste", "editor", "oracle")] == [
        "taste (ours)",
        "editor",
        "oracle (truth)",
    ]


def test_a_figure_is_never_without_its_interval() -> None:
    assert tell.cell(report().scorers["taste"]["all"]["mrr"]) == "0.2000 ± 0.0300"
    assert tell.cell(None) == "-"


def test_days_are_read_by_people() -> None:
    assert tell.day(1_767_225_600_000_000) == "1 Jan 2026"
    assert tell.short(1_767_225_600_000_000) == "1 Jan"


def test_facts_of_the_data_fit_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    tell.data(Console(), prepare(FlashSales(size="small", members=200, days=5)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("  data     flash_sales (simulated, truth known), ")
    assert lines[-1].endswith("0 set aside")
    assert all(len(line) <= 80 for line in lines)
