"""How fast vectors become parquet: python -m benchmarks.export [--quick] [--members N].

Vectors of 64 numbers lie in a raw array on the disk; their files are made as `recsys export` makes
them, by a driver and one process a core, and in turn as many bytes are written at one stretch, with
fsync. Memory is the anonymous memory of the driver and all its processes together, at its peak.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from benchmarks.held import Watch
from benchmarks.turns import Clock, Row, Spread, Took, line, middle, ratio, verdict
from recsys.domain.ledger import Ledger, ShardPlan
from recsys.domain.packed import Dtype, Packing
from recsys.runs.executor import Local, run
from recsys.runs.export_shards import Table, Writing, by_key, deal, files_for, name_of

DIM, UNIT = 64, 63
BLOCK = 262_144
ROWS_PER_FILE = 250_000
LOOK = 0.02
"""Seconds between two looks at the memory of all processes."""
FLAT_MB, RATE, SHARE = 1024, 300_000, 0.60
"""The bars: memory at most; members a second, or share of the disk's own speed, at least."""
DTYPES: tuple[Dtype, ...] = ("fp32", "int8")
Bar = Literal["memory", "speed"]


def made(folder: Path, members: int) -> Table:
    """Draw the vectors of some members, a block at a time."""
    rng = np.random.default_rng(1)
    path, ids = folder / "vectors.npy", folder / "ids.parquet"
    array = np.lib.format.open_memmap(path, "w+", np.float32, (members, DIM))
    for first in range(0, members, BLOCK):
        some = rng.standard_normal((min(BLOCK, members - first), DIM), dtype=np.float32)
        some[:, :UNIT] /= np.linalg.norm(some[:, :UNIT], axis=1, keepdims=True)
        array[first : first + BLOCK] = some
    array.flush()
    del array
    # ids as shops have them: longer than a pointer, in no order
    names = pl.Series("member", rng.permutation(members)).cast(pl.String)
    pl.DataFrame({"member": "member-" + names}).write_parquet(ids)
    return Table("members", ids, "member", path, UNIT, "drawn")


@dataclass(frozen=True)
class Export:
    """One export of a table, in a process of its own."""

    table: Table
    out: Path
    dtype: Dtype
    processes: int = 0

    def __call__(self) -> str:
        """Make all files and publish them; return what their fingerprint is."""
        rows = len(self.table.mapped())
        files = files_for(rows, DIM, ROWS_PER_FILE)
        shards = tuple(name_of("members", number) for number in range(files))
        plan = ShardPlan("export", {"dtype": self.dtype, "rows": rows}, shards)
        with Ledger.open(self.out, plan) as ledger:
            self.deal(ledger.folder, files, shards)
            work = Writing(ledger.folder.resolve(), (self.table,), Packing(self.dtype, UNIT))
            for _ in run(Local(processes=self.processes), work, shards):
                pass
            return str(ledger.finish(name=f"{self.dtype}-{time.time_ns()}"))

    def deal(self, folder: Path, files: int, shards: tuple[str, ...]) -> None:
        """Note which rows go into which file."""
        ids = self.table.read_ids()
        deal(ids, by_key(ids, files), folder, shards=shards)


def exported(work: Export, peaks: list[float]) -> Took:
    """Export once, and note the most anonymous memory of all processes together, in MiB."""
    rows = len(work.table.mapped())
    process = get_context("spawn").Process(target=work)
    clock = Clock()
    process.start()
    with Watch(int(process.pid or 0)) as watch:
        process.join()
    took = clock.took(rows)
    if process.exitcode:
        raise RuntimeError(f"the export ended with {process.exitcode}")
    peaks.append(watch.peak)
    return took


def written(folder: Path, size: int) -> Took:
    """Write so many bytes at one stretch and sync them."""
    block = np.random.default_rng(2).bytes(8 << 20)
    path = folder / "stretch"
    clock = Clock()
    with path.open("wb", buffering=0) as file:
        for first in range(0, size, len(block)):
            file.write(block[: size - first])
        os.fsync(file.fileno())
    took = clock.took(size)
    path.unlink()
    return took


def size_of(folder: Path) -> int:
    """Return the bytes of all files of the one export in a folder, and remove it."""
    (found,) = folder.iterdir()
    size = sum(path.stat().st_size for path in found.rglob("*") if path.is_file())
    shutil.rmtree(found)
    return size


def compared(work: Export, pairs: int) -> tuple[list[Took], list[Took], list[float], int]:
    """Export and write in turn; return what each took, the peaks of memory and the bytes."""
    exports, stretches, peaks = [], [], list[float]()
    exported(work, [])  # once unmeasured: the page cache holds the vectors now
    size = size_of(work.out)
    for _ in range(pairs):
        exports.append(exported(work, peaks))
        size_of(work.out)
        stretches.append(written(work.out, size))
    return exports, stretches, peaks, size


def rows_of(work: Export, pairs: int, *, judged: bool) -> list[Row]:
    """Measure one way of writing numbers, print its line of the table, return its figures."""
    exports, stretches, peaks, size = compared(work, pairs)
    members, memory = middle(one.rate for one in exports), middle(peaks)
    each = size / exports[0].work
    speed = middle(one.rate * each / 1e6 for one in exports)
    stretch = middle(one.rate / 1e6 for one in stretches)
    share = ratio([replace(one, work=size) for one in exports], stretches)
    print(f"| {work.dtype} | {members} | {speed} | {stretch} | {share} | {memory} |", flush=True)
    fast = _either(members, share) if judged else None
    flat = verdict(memory, FLAT_MB, at_most=True) if judged else None
    name = work.dtype
    return [
        Row.of(f"{name} members", members, "members/s", bar=RATE, verdict=fast),
        Row.of(f"{name} bytes", speed, "MB/s"),
        Row.of(f"{name} share", share, "of plain writing", ratio_to="plain", bar=SHARE),
        Row.of(f"{name} memory", memory, "MiB", bar=FLAT_MB, verdict=flat),
    ]


def _either(members: Spread, share: Spread) -> Literal["met", "missed", "undecided"]:
    said = {verdict(members, RATE), verdict(share, SHARE)}
    return "met" if "met" in said else "undecided" if "undecided" in said else "missed"


def main() -> None:
    """Print one table, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200,000 members, one pair of runs")
    parser.add_argument("--members", type=int, default=5_000_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--processes", type=int, default=0, help="0 = the cores")
    parser.add_argument("--folder", help="on the disk that is asked about; else the temporary one")
    asked = parser.parse_args()
    members = 200_000 if asked.quick else asked.members
    pairs = 1 if asked.quick else asked.pairs
    load = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory(prefix="export-", dir=asked.folder) as name:
        folder = Path(name).resolve()
        table = made(folder, members)
        out = folder / "out"
        out.mkdir()
        print(f"{members:,} members x {DIM}, load {load}\n")
        print("| dtype | members/s | MB/s | plain MB/s | share of plain | MiB, all processes |")
        print("|---|---|---|---|---|---|")
        one = partial(Export, table, out, processes=asked.processes)
        rows = [
            row for dtype in DTYPES for row in rows_of(one(dtype), pairs, judged=not asked.quick)
        ]
    print(line("export", rows, members=members, load=load, cores=os.cpu_count()))


if __name__ == "__main__":
    main()
