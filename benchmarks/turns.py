"""Runs in turn, and what the ratio of their speeds says: A B A B, never one day against another."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from time import perf_counter, process_time
from typing import Any, Literal

Verdict = Literal["met", "missed", "undecided"]


@dataclass(frozen=True)
class Took:
    """What some work took."""

    work: float
    """How much was done, in the unit of the benchmark."""
    seconds: float
    """By the clock."""
    processor: float
    """Seconds of the processor, all threads together."""

    @property
    def rate(self) -> float:
        """Work a second by the clock."""
        return self.work / self.seconds

    @property
    def processor_rate(self) -> float:
        """Work a second of the processor: what other jobs take away counts little in it."""
        return self.work / self.processor


class Clock:
    """Started when it is made."""

    def __init__(self) -> None:
        """Start."""
        self._seconds, self._processor = perf_counter(), process_time()

    def took(self, work: float) -> Took:
        """Return what was taken so far for some work."""
        return Took(work, perf_counter() - self._seconds, process_time() - self._processor)


def in_turn(runs: Mapping[str, Callable[[], Took]], *, pairs: int) -> dict[str, list[Took]]:
    """Run all of them once unmeasured, then each in its turn, `pairs` times over."""
    for run in runs.values():
        run()
    found: dict[str, list[Took]] = {name: [] for name in runs}
    for _ in range(pairs):
        for name, run in runs.items():
            found[name].append(run())
    return found


@dataclass(frozen=True)
class Spread:
    """A median between the least and the most of n values."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """Write it as `median (least to most)`."""
        digits = 0 if self.value >= 100 else 2
        parts = (self.value, self.low, self.high)
        middle, low, high = (f"{part:,.{digits}f}" for part in parts)
        return f"{middle} ({low} to {high})"


def middle(values: Iterable[float]) -> Spread:
    """Return the spread of values."""
    known = list(values)
    return Spread(statistics.median(known), min(known), max(known), len(known))


def ratio(ours: Iterable[Took], theirs: Iterable[Took], *, processor: bool = False) -> Spread:
    """Return how many times faster ours were, each beside the run of theirs in the same turn."""
    pairs = zip(ours, theirs, strict=True)
    if processor:
        return middle(one.processor_rate / other.processor_rate for one, other in pairs)
    return middle(one.rate / other.rate for one, other in pairs)


def verdict(found: Spread, bar: float, *, at_most: bool = False) -> Verdict:
    """Say whether a figure reaches a bar; undecided where its range crosses it."""
    low, high = (-found.high, -found.low) if at_most else (found.low, found.high)
    wanted = -bar if at_most else bar
    if low >= wanted:
        return "met"
    return "missed" if high < wanted else "undecided"


@dataclass(frozen=True)
class Row:
    """One figure of a benchmark, as its line of JSON has it."""

    name: str
    value: float
    unit: str
    low: float
    high: float
    n: int
    ratio_to: str | None = None
    bar: float | None = None
    verdict: Verdict | None = None

    @classmethod
    def of(cls, name: str, found: Spread, unit: str, **more: Any) -> Row:
        """Make a row of an estimate."""
        return cls(name, found.value, unit, found.low, found.high, found.n, **more)


def line(benchmark: str, rows: Iterable[Row], **facts: Any) -> str:
    """Return the last line of a benchmark: one JSON object, figures to four digits."""
    plain = [
        {key: _short(value) for key, value in asdict(row).items() if value is not None}
        for row in rows
    ]
    return json.dumps({"benchmark": benchmark, **facts, "rows": plain})


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
