"""Do chances mean what they say: python -m benchmarks.calibration [--quick] [--seed N].

A world of FlashSales, towers of one epoch, and the value model as a run fits it, but on more days:
three days fit it, four calibrate it, eight are judged. The shelf of a day holds some seventy sales,
whose luck all members share: one day tells a chance to some 20 %, however many members there are.
Rows are the open shelves of requests that something came of (RULINGS 2), not only what was shown.

A figure is the sum of chances over the outcomes, with an interval by member; beside it stands the
one by sale, and the same without calibration. Chosen rows are on slates of default settings.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.cells import load_now
from benchmarks.turns import Row, Verdict, line
from recsys.domain.stop import StopFlag
from recsys.evaluate.reliability import Stratum, by_stratum, foretold
from recsys.rerank.calibrate import Calibrator
from recsys.rerank.fit import median_deviation, rows_of
from recsys.rerank.ranker import Ranker
from recsys.rerank.spec import plan_of
from recsys.rerank.value import FittedValue, Label, fit_value
from recsys.runs.learn import Learned, learn, pose
from recsys.runs.prepare import prepare
from recsys.runs.spec import Train
from recsys.towers.spec import TwoTower
from recsys.world import FlashSales

BARS = {"all": 0.05, "chosen": 0.1}
"""How far from 1 a figure of so many rows may lie (issue 4)."""
ENOUGH = 2_000
"""Outcomes of a stratum from which the bars count; with fewer its interval must cover 1."""
LABELS: tuple[Label, ...] = ("engagement", "purchase")


def world(seed: int, *, quick: bool) -> FlashSales:
    """Return a world in which each stratum has ENOUGH engagements to be judged by."""
    if quick:
        return FlashSales(
            members=2_000, days=24, seed=seed, value_days=2, calibration_days=2, test_days=2
        )
    return FlashSales(
        members=20_000, days=44, seed=seed, value_days=3, calibration_days=4, test_days=8
    )


def learned_of(data: FlashSales, folder: Path) -> Learned:
    """Train for one epoch and fit the value model."""
    spec = Train(data=data, towers=TwoTower(epochs=1), seed=data.seed)
    task = pose(prepare(data), spec, folder)
    return learn(task, spec, folder, stop=StopFlag(), on_epoch=lambda _: None, tell=lambda _: None)


def foretelling(learned: Learned, label: Label) -> Ranker:
    """Return the ranker, its value model fitted on the same rows to another label if need be."""
    ranker, blocks, taste = learned.ranker, learned.task.blocks, learned.embedder.scorer()
    if ranker.label == label:
        return ranker
    desk, most = ranker.desk(learned.task.dataset.shop), plan_of(ranker.spec).candidates
    fit, later = (
        rows_of(desk, block, taste, most=most, label=label)
        for block in (blocks.value, blocks.calibration)
    )
    value = fit_value(fit, later, kind=ranker.spec.value, label=label)
    return replace(ranker, value_model=value, median_deviation=median_deviation(value, later))


def uncalibrated(value: FittedValue) -> FittedValue:
    """Return the model's own chances."""
    same = Calibrator(x=np.zeros(0), y=np.zeros(0))
    return replace(value, calibrators=(same, same), crowding=0.0)


def judged(learned: Learned, ranker: Ranker) -> tuple[Stratum, ...]:
    """Judge a ranker's chances on the test block."""
    shop, test = learned.task.dataset.shop, learned.task.blocks.test
    taste = learned.embedder.scorer()
    return by_stratum(foretold(ranker, shop, test, taste=taste, unit_of=learned.unit))


def verdict(one: Stratum) -> Verdict:
    """Say whether a figure keeps its promise."""
    if one.ratio.n >= ENOUGH:
        return "met" if abs(one.ratio.value - 1) <= BARS[one.rows] else "missed"
    return "met" if one.ratio.low <= 1 <= one.ratio.high else "missed"


def rows_told(label: Label, strata: Iterable[Stratum], *, calibrated: bool) -> list[Row]:
    """Return the figures of each stratum; those of an uncalibrated model have no bar."""
    found = []
    for one in strata:
        name = f"{label}, {one.name}, {one.rows} rows"
        about = one.ratio
        ends = (about.low, about.high, about.n)
        bar, said = (BARS[one.rows], verdict(one)) if calibrated else (None, None)
        name = name if calibrated else f"{name}, uncalibrated"
        found += [
            Row(name, about.value, "ratio", *ends, bar=bar, verdict=said),
            Row(f"{name}: log-loss", one.loss, "nats", one.loss, one.loss, about.n),
        ]
    return found


def table(label: Label, ours: Iterable[Stratum], plain: Iterable[Stratum]) -> str:
    """Return a line a stratum: bar, outcomes, both figures with intervals, the other measures."""
    without = {(one.name, one.rows): one for one in plain}
    head = (
        f"  {label:23}{'bar':>9}{'outcomes':>10}{'said/was':>10}   {'by member':14}{'by sale':14}"
        f"{'raw':>6}{'log-loss':>10}{'raw':>9}{'entropy':>9}{'raw':>7}{'ECE':>8}{'raw':>8}"
    )
    lines = [head]
    for one in ours:
        raw = without[one.name, one.rows]
        reach = f"1 +- {BARS[one.rows]:g}" if one.ratio.n >= ENOUGH else "covers 1"
        spans = "".join(f"{f'{e.low:.2f} to {e.high:.2f}':14}" for e in (one.ratio, one.by_sale))
        lines.append(
            f"  {f'{one.name}, {one.rows}':23}{reach:>9}{one.ratio.n:>10,}{one.ratio.value:>10.3f}"
            f"   {spans}{raw.ratio.value:>6.2f}{one.loss:>10.5f}{raw.loss:>9.5f}{one.entropy:>9.3f}"
            f"{raw.entropy:>7.3f}{one.bins.error:>8.4f}{raw.bins.error:>8.4f}   {verdict(one)}"
        )
    return "\n".join(lines)


def main() -> None:
    """Print a table a label, and one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the members, no verdicts")
    parser.add_argument("--seed", type=int, default=1, help="which world")
    asked = parser.parse_args()
    before, rows = load_now(), list[Row]()
    with TemporaryDirectory() as folder:
        learned = learned_of(world(asked.seed, quick=asked.quick), Path(folder))
        for label in LABELS:
            ranker = foretelling(learned, label)
            plain = replace(ranker, value_model=uncalibrated(ranker.value_model))
            ours, without = judged(learned, ranker), judged(learned, plain)
            rows += rows_told(label, ours, calibrated=True)
            rows += rows_told(label, without, calibrated=False)
            own = label if label == learned.ranker.label else f"{label} (fitted aside)"
            print(f"  {own}: crowding {ranker.value_model.crowding:.2f}")
            print(table(label, ours, without))
    if asked.quick:
        rows = [replace(row, bar=None, verdict=None) for row in rows]
    print(line("calibration", rows, seed=asked.seed, quick=asked.quick, load=(before, load_now())))


if __name__ == "__main__":
    main()
