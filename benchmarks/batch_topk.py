"""The best sales for everyone, beside faiss: python -m benchmarks.batch_topk [--quick] [--whole].

5,000 random sales of length 1, the 50 best for each member; all take turns in one run. The product
alone is what no exact search by matrix products can beat, if its precision is that of the product.
`--whole` is 2,000,000 members from a file, their lists to files, in a folder that goes afterwards.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import faiss
import numpy as np
import torch

from benchmarks.cells import anonymous_mb, load_now, machine
from benchmarks.turns import Clock, Row, Spread, Took, in_turn, line, middle, ratio, verdict
from recsys.domain.arrays import F32, I32, I64, NONE
from recsys.runs.environment import before_imports
from recsys.towers.device import cores, resolve
from recsys.towers.score import Search, blocks, recall, top_k
from recsys.towers.spec import Cpu

SALES, BEST, MEMBERS = 5_000, 50, 2_000_000
BARS = {
    (64, "exact", "faiss flat"): 1.4,
    (64, "exact", "product, fp32"): 0.4,
    (64, "bf16", "faiss flat"): 1.9,
    (128, "exact", "faiss flat"): 1.25,
}
"""(dim, ours, theirs) -> how many times faster ours is to be."""
RECALL, WHOLE_SECONDS = 0.99, 60.0


def vectors(rows: int, dim: int, *, seed: int) -> F32:
    """Return random directions F32[rows, dim]."""
    found = np.random.default_rng(seed).standard_normal((rows, dim), dtype=np.float32)
    unit: F32 = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


@dataclass(frozen=True)
class World:
    """Who is asked for, and what there is."""

    members: F32
    sales: F32

    @property
    def pairs(self) -> float:
        """Pairs of a member and a sale, in thousands of millions."""
        return len(self.members) * len(self.sales) / 1e9

    def tiled(self, work: Callable[[int, int], object], tile: int) -> Took:
        """Give tiles (first, last) to threads of one BLAS thread each."""

        def alone() -> None:
            torch.set_num_threads(1)
            faiss.omp_set_num_threads(1)

        before, clock = torch.get_num_threads(), Clock()
        with ThreadPoolExecutor(cores(), initializer=alone) as pool:
            firsts = range(0, len(self.members), tile)
            list(pool.map(lambda first: work(first, first + tile), firsts))
        took = clock.took(self.pairs)
        torch.set_num_threads(before)
        return took

    def product(self, kind: torch.dtype, *, select: bool, tile: int) -> Took:
        """Multiply, and maybe let torch choose."""
        members, sales = (torch.from_numpy(part).to(kind) for part in (self.members, self.sales))

        def work(first: int, last: int) -> None:
            scores = members[first:last] @ sales.t()
            if select:
                scores.topk(BEST)

        return self.tiled(work, tile)

    def flat(self, *, tile: int) -> Took:
        """Let faiss search: all members at once with its own threads, or tiles with ours."""
        index = faiss.IndexFlatIP(self.sales.shape[1])
        index.add(self.sales)
        if tile:
            return self.tiled(
                lambda first, last: index.search(self.members[first:last], BEST), tile
            )
        faiss.omp_set_num_threads(cores())
        clock = Clock()
        index.search(self.members, BEST)
        return clock.took(self.pairs)

    def ours(self, search: Search) -> Took:
        """Search by the towers' batch search."""
        clock = Clock()
        for _ in blocks(self.members, self.sales, search):
            pass
        return clock.took(self.pairs)


def contenders(world: World, *, low: bool) -> dict[str, Callable[[], Took]]:
    """Return who takes turns; those in bfloat16 only where the CPU has it."""
    exact, sifted, approximate = (
        Search(k=BEST),
        Search(k=BEST, sieve="fp32"),
        Search(k=BEST, precision="bf16"),
    )
    product = partial(world.product, select=False)
    found: dict[str, Callable[[], Took]] = {
        "product, fp32": partial(product, torch.float32, tile=128),
        "torch product and topk": partial(world.product, torch.float32, select=True, tile=128),
        "faiss flat, its threads": partial(world.flat, tile=0),
        "faiss flat, our threads": partial(world.flat, tile=4_096),
        "exact": partial(world.ours, exact),
        "exact, fp32 sieve": partial(world.ours, sifted),
    }
    if low:
        found["product, bf16"] = partial(product, torch.bfloat16, tile=512)
        found["bf16"] = partial(world.ours, approximate)
    return found


def faster(took: dict[str, list[Took]]) -> str:
    """Return which of faiss's two ways was the faster."""
    ways = [name for name in took if name.startswith("faiss")]
    return max(ways, key=lambda name: middle(one.rate for one in took[name]).value)


def turned(dim: int, *, members: int, pairs: int) -> list[Row]:
    """Let all take turns on vectors of one width; print and return the figures."""
    low, world = (
        resolve(Cpu()).low,
        World(vectors(members, dim, seed=1), vectors(SALES, dim, seed=2)),
    )
    # its default scans query by query, up to 2,000 at once
    faiss.cvar.distance_compute_blas_threshold = 1
    took = in_turn(contenders(world, low=low), pairs=pairs)
    rivals = {"faiss flat": took[faster(took)], "product, fp32": took["product, fp32"]}
    print(f"\n  dim {dim}, {members:,} members x {SALES:,} sales, {pairs} turns")
    print("  how many times faster than the faster faiss and than the bare fp32 product, by the")
    print("  clock and of the processor's time, in which other jobs count little")
    print(f"  {'':26}{'G pairs/s':>24}{'faiss, clock':>22}{'processor':>22}", end="")
    print(f"{'product, clock':>22}{'processor':>22}")
    rows = []
    for name, runs in took.items():
        rate, columns = middle(one.rate for one in runs), ""
        rows.append(Row.of(f"{name}, dim {dim}", rate, "G pairs/s"))
        for rival, theirs in rivals.items():
            clock, processor = ratio(runs, theirs), ratio(runs, theirs, processor=True)
            bar = BARS.get((dim, name, rival))
            pair = f"{name} / {rival}, dim {dim}"
            rows += [judged(pair, clock, "times", bar=bar)]
            rows += [judged(f"{pair}, processor", processor, "times", bar=None)]
            columns += f"{clock!s:>22}{processor!s:>22}"
        print(f"  {name:26}{rate!s:>24}{columns}", flush=True)
    if low:
        rows.append(approximate(world, dim))
    rows.append(agreement(world, dim))
    for row in rows:
        if row.bar is not None:
            print(f"  {row.name}: {row.value:.4g}, wanted {row.bar:g}: {row.verdict}")
    return rows


def judged(name: str, found: Spread, unit: str, *, bar: float | None) -> Row:
    """Return a figure as a row, beside its bar where there is one."""
    said = None if bar is None else verdict(found, bar)
    return Row.of(name, found, unit, bar=bar, verdict=said)


def approximate(world: World, dim: int) -> Row:
    """Return which share of the exact lists bfloat16 finds."""
    found = recall(world.members, world.sales, Search(k=BEST, precision="bf16"), sample=4_000)
    spread = Spread(found, found, found, 1)
    return judged(f"recall of bf16, dim {dim}", spread, "share", bar=RECALL)


def agreement(world: World, dim: int) -> Row:
    """Return which share of faiss's lists ours hold too: its sums round in another order."""
    few = world.members[:4_000]
    index = faiss.IndexFlatIP(dim)
    index.add(world.sales)
    theirs, ours = index.search(few, BEST)[1], top_k(few, world.sales, Search(k=BEST)).sales
    own = np.arange(len(few))[:, None] * SALES
    share = float(np.isin(ours + own, theirs + own).mean())
    print(f"  share of our exact lists in faiss's: {share:.6f}")
    return Row.of(f"exact in faiss flat, dim {dim}", Spread(share, share, share, 1), "share")


def written(path: Path, rows: int, dim: int) -> None:
    """Write random members to a file, some at a time."""
    file = np.lib.format.open_memmap(path, "w+", np.dtype(np.float32), (rows, dim))
    for first in range(0, rows, 100_000):
        part = file[first : first + 100_000]
        part[:] = vectors(len(part), dim, seed=first)
    file.flush()


def whole(folder: Path, *, members: int, dim: int) -> list[Row]:
    """Search everyone, from file to files, and look whether every list is there, once."""
    written(folder / "members.npy", members, dim)
    sales = vectors(SALES, dim, seed=2)
    everyone: F32 = np.load(folder / "members.npy", mmap_mode="r")
    peak, clock = 0.0, Clock()
    names = ("row", "sale", "score")
    files = {name: (folder / name).open("wb") for name in names}
    for block in blocks(everyone, sales, Search(k=BEST)):
        rows = np.arange(block.first, block.first + len(block.sales), dtype=np.int32)
        for name, part in zip(names, (rows, block.sales, block.scores), strict=True):
            files[name].write(part.data)
        peak = max(peak, anonymous_mb() or 0.0)
    for file in files.values():
        file.close()
    took = clock.took(members * SALES / 1e9)
    checked(folder, everyone, sales)
    size = sum((folder / name).stat().st_size for name in names)
    print(f"\n  whole: {members:,} members x {SALES:,} sales, dim {dim}, {size:,} bytes of lists")
    print(f"  {took.seconds:.1f} s by the clock, {took.processor:.1f} s of the processor,", end="")
    print(f" {took.rate:.2f} G pairs/s; at most {peak:,.0f} MB of anonymous memory")
    seconds = Spread(took.seconds, took.seconds, took.seconds, 1)
    bar = WHOLE_SECONDS * members / MEMBERS
    said = verdict(seconds, bar, at_most=True)
    print(f"  every member is there once; wanted {bar:g} s at most: {said}")
    return [Row.of(f"whole, dim {dim}", seconds, "s", bar=bar, verdict=said)]


def checked(folder: Path, members: F32, sales: F32) -> None:
    """Read the files back.

    Raises:
        ValueError: a member is missing or twice, or a list is not the best there is.
    """
    rows: I32 = np.fromfile(folder / "row", dtype=np.int32)
    if not np.array_equal(np.sort(rows), np.arange(len(members))):
        raise ValueError(f"{len(rows)} rows; not every member is there once")
    sale = np.memmap(folder / "sale", np.int32, "r").reshape(len(rows), BEST)
    score = np.memmap(folder / "score", np.float32, "r").reshape(len(rows), BEST)
    some: I64 = np.linspace(0, len(rows) - 1, 500).astype(np.int64)
    truth = -np.sort(-(members[rows[some]].astype(np.float64) @ sales.T.astype(np.float64)))
    off = float(np.abs(score[some] - truth[:, :BEST]).max())
    repeated = (np.diff(np.sort(sale[some], axis=1)) == 0).any()
    if off > 1e-5 or repeated or (sale[some] == NONE).any():
        raise ValueError(f"lists are off by {off:g}, or hold a sale twice")


def main() -> None:
    """Print tables, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few members, two turns")
    parser.add_argument("--whole", action="store_true", help="2,000,000 members, file to files")
    asked = parser.parse_args()
    before_imports()
    before, where = load_now(), machine(version("torch"))
    print(f"  random vectors, {where}, load {before} before")
    rows: list[Row] = []
    if asked.whole:
        with tempfile.TemporaryDirectory() as folder:
            rows += whole(Path(folder), members=100_000 if asked.quick else MEMBERS, dim=64)
    else:
        size: Mapping[str, int] = (
            {"members": 8_192, "pairs": 2} if asked.quick else {"members": 32_768, "pairs": 5}
        )
        for dim in (64, 128):
            rows += turned(dim, **size)
    print(line("batch_topk", rows, machine=where, threads=cores(), load=(before, load_now())))


if __name__ == "__main__":
    main()
