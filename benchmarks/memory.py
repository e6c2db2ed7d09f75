"""What training was said to need beside what it took: python -m benchmarks.memory [--quick].

Each size is trained in a process of its own: first a small training, so that libraries and buffers
stand, then the one that is measured. Memory is anonymous memory above what the process held before.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from benchmarks.cells import Meter, anonymous_mb
from benchmarks.training import job_of
from recsys.towers.device import resolve
from recsys.towers.fit import fit
from recsys.towers.memory import need
from recsys.towers.slack import give_back
from recsys.towers.spec import TwoTower
from recsys.world.spec import FlashSales

SMALL, DEMO = FlashSales(size="small"), FlashSales()
SIZES: dict[str, tuple[FlashSales, TwoTower]] = {
    "small shop, dim 512": (SMALL, TwoTower(epochs=1, dim=512)),
    "small shop, 1,024 wide": (SMALL, TwoTower(epochs=1, dim=1024)),
    "demo shop, dim 64": (DEMO, TwoTower(epochs=1)),
    "demo shop, dim 256, steps of 2,048": (
        DEMO,
        TwoTower(epochs=1, dim=256, rows_per_group=512, history=64),
    ),
}
QUICK = ("small shop, dim 512", "small shop, 1,024 wide")


def measured(name: str) -> tuple[float, float]:
    """Return MB said and MB taken of a size."""
    with tempfile.TemporaryDirectory() as folder:
        fit(job_of(SMALL, TwoTower(epochs=1, dim=16), Path(folder, "first")))
        job = job_of(*SIZES[name], Path(folder, "job"))
        said = need(job, resolve(job.trainer)).total / 2**20
        gc.collect()
        give_back()
        before = anonymous_mb() or 0.0
        with Meter() as meter:
            fit(replace(job))
    return said, (meter.cost.peak_mb or 0.0) - before


def main() -> None:
    """Print one table, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the two sizes that take seconds")
    names = QUICK if parser.parse_args().quick else tuple(SIZES)
    print("| training | said | taken | said / taken |\n|---|---|---|---|")
    rows = []
    for name in names:
        with get_context("spawn").Pool(1) as pool:
            said, taken = pool.apply(measured, (name,))
        print(f"| {name} | {said:.0f} MB | {taken:.0f} MB | {said / taken:.2f} |", flush=True)
        rows.append({"name": name, "value": said / taken, "unit": "said / taken"})
    print(json.dumps({"benchmark": "memory", "rows": rows}))


if __name__ == "__main__":
    main()
