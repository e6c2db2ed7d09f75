"""How an epoch and its memory grow with the data: python -m benchmarks.scaling [--quick].

One of members, sales, purchases and history doubles from point to point, the other three stay. The
data are random and made anew; each point is a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version

import numpy as np

from benchmarks.apart import apart
from benchmarks.cells import load_now, machine
from benchmarks.turns import Row, line

AXES = ("members", "sales", "events", "history")


@dataclass(frozen=True)
class Point:
    """How large a training is."""

    members: int
    sales: int
    events: int
    history: int

    def doubled(self, axis: str, times: int) -> Point:
        """Return the point with one of its sizes doubled some times."""
        return replace(self, **{axis: asdict(self)[axis] << times})


FULL = Point(members=500, sales=10_000, events=100_000, history=16)
"""Pasts are longer than the longest history, and all shelves so long that negatives are drawn."""
QUICK = Point(members=100, sales=250, events=2_000, history=4)


@dataclass(frozen=True)
class Cost:
    """What one epoch at a point took."""

    seconds: float
    """Of the processor, validation and saves left out."""
    memory: float
    """Most anonymous memory at one time beyond what the libraries hold, in 2^20 bytes."""
    libraries: float
    """What these hold."""


def measured(point: Point) -> Cost:
    """Make the data of a point and train an epoch; for a process of its own."""
    from benchmarks import made, speed

    size = made.Size(point.members, point.sales, point.events)
    return Cost(*speed.epoch_of(size, history=point.history))


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the power of the size by which values grow: least squares of their logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-9)), 1)[0])


def grown(start: Point, pool: Executor, *, points: int) -> list[Row]:
    """Measure some points of each axis and print them, an axis at a time; return the slopes."""
    smallest = pool.submit(measured, start).result()
    rows = []
    for axis in AXES:
        fixed = ", ".join(f"{n:,} {name}" for name, n in asdict(start).items() if name != axis)
        print(f"  {axis:12}{'epoch, processor s':>20}{'memory, MB':>12}   held: {fixed}")
        along = [start.doubled(axis, times) for times in range(points)]
        costs = [smallest, *(pool.submit(measured, point).result() for point in along[1:])]
        sizes = [asdict(point)[axis] for point in along]
        for size, cost in zip(sizes, costs, strict=True):
            print(f"  {size:<12,}{cost.seconds:>20.2f}{cost.memory:>12,.0f}")
        of_time = slope(sizes, [cost.seconds for cost in costs])
        of_memory = slope(sizes, [cost.memory for cost in costs])
        print(f"  {'slope':12}{of_time:>20.2f}{of_memory:>12.2f}")
        for name, found in ((f"epoch by {axis}", of_time), (f"memory by {axis}", of_memory)):
            rows.append(Row(name, found, "slope", found, found, points))
    print(f"  beside {smallest.libraries:,.0f} MB that the libraries hold")
    return rows


def main() -> None:
    """Print a table for each size, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="two small points, which show no slope"
    )
    quick = parser.parse_args().quick
    before, where = load_now(), machine(version("torch"))
    print(f"  random purchases, {where}, load {before} before")
    with apart() as pool:
        rows = grown(QUICK, pool, points=2) if quick else grown(FULL, pool, points=4)
    print(line("scaling", rows, machine=where, load=(before, load_now())))


if __name__ == "__main__":
    main()
