"""What a training run says: facts of the data, a line an epoch, the table, what comes next."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from recsys.domain.clock import utc_of
from recsys.domain.report import Estimate, Report
from recsys.evaluate.comparisons import slate_depth
from recsys.evaluate.material import EpochRow as Shown
from recsys.evaluate.scorer import ORACLES, OURS
from recsys.runs.console import Console, clock
from recsys.runs.learn import Learned, Task
from recsys.runs.prepare import Prepared
from recsys.towers.device import Device
from recsys.towers.job import EpochRow


def day(at: int) -> str:
    """Write a UTC instant as a day, e.g. 21 Nov 2026."""
    return f"{utc_of(at):%d %b %Y}".lstrip("0")


def short(at: int) -> str:
    """Write a UTC instant as a day without its year."""
    return f"{utc_of(at):%d %b}".lstrip("0")


def device_text(device: Device) -> str:
    """Write what a run computes on, e.g. cpu, 3 threads and one for batches."""
    several = f"{device.processes} processes of " if device.processes > 1 else ""
    threads = f"{device.threads} thread{'s' * (device.threads != 1)}"
    beside = " and one for batches" if device.kind == "cpu" else ""
    return f"{device.kind}, {several}{threads}{beside}"


def data(console: Console, prepared: Prepared) -> None:
    """Say what was read, kept and set aside."""
    dataset, checked = prepared.dataset, prepared.checked
    known = prepared.truth is not None
    events = dataset.events
    first, last = (int(events.at.min()), int(events.at.max())) if len(events) else (0, 0)
    console.fact(
        "data",
        f"{dataset.name}{' (simulated, truth known)' if known else ''}, {day(first)} to "
        f"{day(last)}",
        f"{dataset.num_members:,} members, {dataset.num_sales:,} sales, {len(events):,} events",
    )
    aside = {
        f"{table} {reason}": rows
        for table, reasons in checked.counts.items()
        for reason, rows in reasons.items()
        if rows
    }
    said = ", ".join(f"{rows:,} {reason}" for reason, rows in aside.items())
    console.fact(
        "checks",
        f"{sum(checked.rows_in.values()):,} rows read, {sum(aside.values()):,} set aside",
        *([said] if said else []),
    )


def task(console: Console, posed: Task) -> None:
    """Say where time is cut and how many requests each block holds."""
    blocks = posed.blocks
    names = ("towers", "validation", "value", "calibration", "test")
    if blocks.split is not None:
        ends = {
            block.name: f"{utc_of(block.last):%d %b}".lstrip("0") for block in blocks.split.blocks
        }
        console.fact("split", "by time: " + ", ".join(f"{name} to {ends[name]}" for name in ends))
    counts = ", ".join(f"{len(getattr(blocks, name)):,}" for name in names)
    console.fact("requests", counts)
    if blocks.refit is not None:
        console.fact("refit", f"then {len(blocks.refit):,}, the days of validation included")
    encoded = posed.encoded
    crowded = "  (raise towers.table_bits)" if encoded.collision_share > 0.1 else ""
    console.fact(
        "features",
        f"{len(encoded.sales.fields)} fields a sale, {len(encoded.members.fields)} a member, "
        f"{encoded.collision_share:.1%} share a row{crowded}",
    )
    if posed.earlier is not None:
        console.fact("warm", f"starts from the towers and encoders of {posed.earlier.run}")


class Curve:
    """Prints one line an epoch, keeps it in metrics.csv and for the report."""

    HEADER = (
        "epoch,loss,val/ndcg_at_10,val/recall_at_10,val/day0_ndcg_at_10,"
        "requests_per_second,tau,best"
    )

    def __init__(self, console: Console, file: Path) -> None:
        """Print the head of the table; a run that goes on keeps the epochs it had."""
        self.console, self.file = console, file
        self.rows: list[Shown] = epochs_in(file)
        console.line()
        console.line(" epoch    loss   val/ndcg_at_10   val/recall_at_10   requests/s    time")

    def __call__(self, row: EpochRow) -> None:
        """Print and keep one epoch."""
        best = "best" if row.best else "    "
        self.console.line(
            f" {row.epoch:>5}  {row.loss:>6.3f}   {row.ndcg_at_10:>9.4f} {best}"
            f"{row.recall_at_10:>19.4f}{row.requests_per_second:>13,.0f}{clock(row.seconds):>8}"
        )
        if row.warning:
            self.console.line(f"         {row.warning}")
        earlier = [
            replace(shown, best=shown.best and not row.best)
            for shown in self.rows
            if shown.epoch < row.epoch
        ]
        shown = Shown(row.epoch, row.loss, row.ndcg_at_10, row.recall_at_10, row.best)
        self.rows = [*earlier, shown]
        fresh = not self.file.exists()
        with self.file.open("a", encoding="utf-8") as metrics:
            if fresh:
                metrics.write(f"{self.HEADER}\n")
            metrics.write(
                f"{row.epoch},{row.loss:.6f},{row.ndcg_at_10:.6f},{row.recall_at_10:.6f},"
                f"{row.day0_ndcg_at_10:.6f},{row.requests_per_second:.0f},{row.tau:.4f},"
                f"{int(row.best)}\n"
            )


def epochs_in(file: Path) -> list[Shown]:
    """Return the epochs of a metrics.csv, the last line of each; none where there is no file."""
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as lines:
        told = {int(row["epoch"]): row for row in csv.DictReader(lines) if row["best"]}
    best = max((epoch for epoch, row in told.items() if row["best"] == "1"), default=0)
    return [
        Shown(
            epoch,
            float(row["loss"]),
            float(row["val/ndcg_at_10"]),
            float(row["val/recall_at_10"]),
            epoch == best,
        )
        for epoch, row in sorted(told.items())
    ]


def results(console: Console, report: Report, learned: Learned) -> None:
    """Print the test table: ours first, then baselines from the best down, oracles apart."""
    where, metrics, order = shown(report)
    console.line()
    test = learned.task.blocks.test
    console.line(
        f" test, {day(int(test.at.min()))} to {day(int(test.at.max()))}: {len(test):,} requests, "
        f"slice {where}"
    )
    console.line(" ± half of a 95 % interval, members drawn anew")
    rows = [["", *metrics]]
    for name in order:
        figures = report.scorers[name].get(where, {})
        rows.append([label(name), *(cell(figures.get(m)) for m in metrics)])
    console.table(rows)


def shown(report: Report) -> tuple[str, list[str], list[str]]:
    """Return the slice, the metrics and the scorers of the test table, in order."""
    where, _, metric = report.headline.rpartition("/")
    where = where or "all"
    metrics = [metric, "recall_at_10", f"ndcg_at_{slate_depth(report)}"]
    return where, list(dict.fromkeys(metrics)), ranked(report, where, metric)


def ranked(report: Report, where: str, metric: str) -> list[str]:
    """Order scorers: ours, baselines from the best down, then what knows the truth."""

    def figure(name: str) -> float:
        found = report.scorers[name].get(where, {}).get(metric)
        return found.value if found else -1.0

    def rank(name: str) -> tuple[int, float]:
        return (0 if name in OURS else 2 if name in ORACLES else 1, -figure(name))

    shown = (name for name in report.scorers if figure(name) >= 0 or name in OURS)
    return sorted(shown, key=rank)


def label(name: str) -> str:
    """Name a scorer for people."""
    return f"{name} (ours)" if name in OURS else f"{name} (truth)" if name in ORACLES else name


def cell(estimate: Estimate | None) -> str:
    """Write a figure with half of its interval."""
    if estimate is None:
        return "-"
    return f"{estimate.value:.4f} ± {(estimate.high - estimate.low) / 2:.4f}"
