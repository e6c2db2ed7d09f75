"""How fast the built-in world is played: python -m benchmarks.world [--quick].

--large FOLDER plays 5,000,000 members for 60 days into a folder (--members and --days for less),
says how it gets on, and goes on where it was cut short.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.held import Watch
from recsys.data.contract import check
from recsys.domain.dataset import Dataset
from recsys.world import FlashSales, Past, play, processes, stream
from recsys.world.tables import Some, events_table, members_table, shop_tables

SLICE = FlashSales(size="large", members=150_000, days=12)
"""What is both played and streamed, to compare."""


def processor() -> float:
    """Return the seconds of the processor that this process and its ended children took."""
    used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(of.ru_utime + of.ru_stime for of in used)


def seconds(act: Callable[[], object], *, times: int) -> tuple[float, float]:
    """Return the least seconds of the clock and of the processor that `act` took."""
    took = []
    for _ in range(times):
        clock, worked = time.perf_counter(), time.process_time()
        act()
        took.append((time.perf_counter() - clock, time.process_time() - worked))
    return min(clock for clock, _ in took), min(worked for _, worked in took)


def in_memory(times: int) -> list[tuple[str, str, float, str]]:
    """Return name, promise, measure and unit of what is played as a whole, one thread a library."""
    small, _ = seconds(lambda: play(FlashSales(size="small")).tables(), times=times)
    played = play(FlashSales())
    clock, worked = seconds(lambda: play(FlashSales()), times=times)
    events, shown = len(played.log), len(played.log.shown_sale)
    members = np.array([f"m{row:06d}" for row in range(20_000)])
    sales = np.array([f"s{row:05d}" for row in range(100)])
    at = played.world.noon(20)
    truth, _ = seconds(lambda: played.truth.scores(members, sales, at), times=times)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    return [
        ("small, played and tabled", "2", small, "s"),
        ("demo, played", "", clock, "s"),
        ("events a second of one core", "1,000,000", events / worked, ""),
        ("the same with places shown", "", (events + shown) / worked, ""),
        ("truth of 20,000 x 100", "5", truth, "s"),
        ("peak memory", "2,000", peak, "MB"),
    ]


def played_rate(spec: FlashSales) -> float:
    """Return the events a second of one core of a past that is played as a whole."""
    worked = time.process_time()
    return len(play(spec).log) / (time.process_time() - worked)


def streamed_rate(spec: FlashSales) -> tuple[float, float]:
    """Return the same for one that is streamed, and the most MB of the process that did it all."""
    with tempfile.TemporaryDirectory() as folder, Watch(os.getpid()) as tree:
        worked = time.process_time()
        past = stream(spec, Path(folder))
        return len(past.events) / (time.process_time() - worked), tree.peak


def compared(pairs: int) -> list[tuple[str, str, float, str]]:
    """Play and stream the same world in turns."""
    ratios, rates, peaks = [], [], []
    for _ in range(pairs):
        with processes(1) as spread:
            (rate, peak), *_ = spread(streamed_rate, [SLICE])
        with processes(1) as spread:
            (whole,) = spread(played_rate, [SLICE])
        ratios.append(rate / whole)
        rates.append(rate)
        peaks.append(peak)
    return [
        ("streamed: events a second, one core", "1,000,000", statistics.median(rates), ""),
        ("  against played as a whole", "", statistics.median(ratios), "times"),
        ("  least of these ratios", "", min(ratios), "times"),
        ("  most of these ratios", "", max(ratios), "times"),
        ("  memory of that process", "", max(peaks), "MB"),
    ]


def large(spec: FlashSales, folder: Path, *, workers: int) -> list[tuple[str, str, float, str]]:
    """Stream a large world and say how it gets on."""
    began, worked = time.perf_counter(), processor()

    def told(day: int, days: int) -> None:
        took, free = time.perf_counter() - began, shutil.disk_usage(folder).free / 1e9
        print(
            f"  day {day:>3} of {days}{took:>9.0f} s{tree.peak:>9.0f} MB at most"
            f"{free:>8.1f} GB free",
            flush=True,
        )

    with Watch(os.getpid()) as tree:
        with processes(workers) as spread:
            past = stream(spec, folder, spread=spread, told=told)
        took, worked = time.perf_counter() - began, processor() - worked
        read = _read(past)
    bytes_on_disk = sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
    return [
        ("members", "", spec.num_members, ""),
        ("days", "", spec.num_days, ""),
        ("events", "", len(past.events), ""),
        ("of which may be learned from", "", len(past.history), ""),
        ("seconds", "", took, "s"),
        ("seconds of processors", "", worked, "s"),
        ("events a second of one core", "1,000,000", len(past.events) / worked, ""),
        ("memory of all processes", "1,000", tree.peak, "MB"),
        ("on disk", "", bytes_on_disk / 1e9, "GB"),
        ("histories of 10,000 members, read", "", read, "s"),
    ]


def dataset_of(past: Past) -> Dataset:
    """Return everybody's dataset: members, sales, picks and stock in memory, events mapped.

    Nothing counts as shown, and a purchase in the shop is known by who made it. `dataset.history`
    is what the past has on disk; `dataset.events.where` would load it.
    """
    world, state, store = past.world, past.state, past.store
    blocks = [store.rows(block) for block in range(store.blocks)]
    some = [Some(rows.start, rows.stop) for rows in blocks]
    tables = replace(
        shop_tables(world, state),
        members=pl.concat([members_table(world, state, one) for one in some]),
        # the contract asks for one
        events=events_table(world, store.log(0, 0), some[0])
        .filter(pl.col("id_source").is_null())
        .head(1),
    )
    checked = check(tables, store.spec).dataset
    said = sha256(store.spec.model_dump_json().encode()).hexdigest()[:16]
    dataset = replace(checked, events=past.events, fingerprint=said)
    vars(dataset)["history"] = past.history
    return dataset


def _read(past: Past) -> float:
    """Return the seconds that reading some members' histories takes."""
    began = time.perf_counter()
    history = past.history
    for member in np.linspace(0, len(history.member_ptr) - 2, 10_000).astype(np.int64).tolist():
        history.sale[history.member_ptr[member] : history.member_ptr[member + 1]].sum()
    return time.perf_counter() - began


def told(rows: list[tuple[str, str, float, str]]) -> None:
    """Print promise and measure, then all as one line of JSON."""
    print(f"  {'world':37}{'promised':>11}{'measured':>15}")
    for name, promised, measure, unit in rows:
        digits = 0 if measure >= 1_000 else 2
        print(f"  {name:37}{promised:>11}{measure:>15,.{digits}f} {unit}".rstrip())
    plain: list[dict[str, Any]] = [
        {"name": name.strip(), "value": measure, "unit": unit} for name, _, measure, unit in rows
    ]
    load = os.getloadavg()[0]
    print(json.dumps({"benchmark": "world", "load": load, "rows": plain}))


def main() -> None:
    """Print one table: promise and measure. An event is a row of the log of events."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure once instead of five times")
    parser.add_argument("--large", type=Path, metavar="FOLDER", help="play a large world into it")
    parser.add_argument("--members", type=int, default=0, help="with --large: not 5,000,000")
    parser.add_argument("--days", type=int, default=0, help="with --large: not 60")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    if asked.large is not None:
        spec = FlashSales(size="large", members=asked.members, days=asked.days)
        told(large(spec, asked.large, workers=asked.processes))
        return
    times = 1 if asked.quick else 5
    with processes(1) as spread:
        (rows,) = spread(in_memory, [times])
    told([*rows, *compared(times)])


if __name__ == "__main__":
    main()
