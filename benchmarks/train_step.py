"""How fast a training step is beside what it cannot do without: python -m benchmarks.train_step.

Sizes are those of one big GPU where there is one (16,384 requests, 64 events back, 128 wide,
24,576 columns), else a sixteenth of them. Data are random: no file is read. The floor counts each
byte that must move and each product that must be made once, at rates measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.training import descend, gradient
from recsys.data.popularity import Popularity
from recsys.domain.encoded import Features
from recsys.domain.events import DAY
from recsys.domain.requests import Requests
from recsys.towers.batches import Assembler, Sampler, Share
from recsys.towers.feed import Feed, Place
from recsys.towers.lightning import Training
from recsys.towers.losses import Planner
from recsys.towers.resident import Bag, Resident
from recsys.towers.softmax import Kernel
from recsys.towers.spec import Sampled, TwoTower
from recsys.towers.two_tower import Sizes, TwoTowerNet

FIELDS, MEMBER_FIELDS = 8, 6


@dataclass(frozen=True)
class Size:
    """How large the step and its world are."""

    rows: int
    history: int
    dim: int
    in_batch: int
    uniform: int
    sales: int = 100_000
    members: int = 200_000
    events_each: int = 100
    values: int = 200_000
    """Rows of the shared table."""


BIG = Size(rows=16_384, history=64, dim=128, in_batch=8_192, uniform=16_384)
SMALL = Size(
    rows=1_024, history=32, dim=64, in_batch=512, uniform=1_024, sales=20_000, members=20_000
)


def features(rng: np.random.Generator, things: int, *, fields: int, values: int) -> Features:
    """Return one random value of each field for each thing."""
    return Features(
        ptr=np.arange(things + 1, dtype=np.int64) * fields,
        row=rng.integers(fields, values, things * fields).astype(np.int32),
        field=np.tile(np.arange(fields, dtype=np.int16), things),
        weight=np.ones(things * fields, dtype=np.float16),
        fields=tuple(f"field{n}" for n in range(fields)),
        missing_row=np.arange(fields, dtype=np.int32),
        dense=np.zeros((things, 0), dtype=np.float32),
        dense_names=(),
    )


def resident_of(size: Size, device: torch.device) -> tuple[Resident, Sizes]:
    """Make a random world on the device."""
    rng = np.random.default_rng(1)
    events = size.members * size.events_each
    sale = (rng.random(events) ** 2 * size.sales).astype(np.int64)
    at = np.sort(rng.integers(0, 90 * DAY, (size.members, size.events_each)), axis=1).ravel()
    members = features(rng, size.members, fields=MEMBER_FIELDS, values=size.values)
    sales = features(rng, size.sales, fields=FIELDS, values=size.values)
    used = np.arange(size.values, dtype=np.int64)
    order = np.lexsort((at, sale))
    counts = np.bincount(sale, minlength=size.sales)
    resident = Resident(
        members=Bag.of(members, used, device),
        sales=Bag.of(sales, used, device),
        event_sale=torch.from_numpy(sale.astype(np.int32)).to(device),
        event_second=torch.from_numpy((at // 1_000_000).astype(np.int32)).to(device),
        event_what=torch.from_numpy(rng.integers(0, 30, events, dtype=np.uint8)).to(device),
        log_price=torch.rand(size.sales, device=device),
        used=used,
        member_ptr=np.arange(size.members + 1, dtype=np.int64) * size.events_each,
        popularity=Popularity(np.concatenate(([0], np.cumsum(counts))), at[order]),
        opens_at=np.zeros(size.sales, dtype=np.int64),
        epoch=0,
        device=device,
    )
    sizes = Sizes(
        member_fields=members.fields,
        sale_fields=sales.fields,
        member_dense=(),
        sale_dense=(),
        table_rows=size.values,
    )
    return resident, sizes


def requests_of(size: Size, resident: Resident, steps: int) -> Requests:
    """Make requests of one decision time, each with one target."""
    rng = np.random.default_rng(2)
    n = size.rows * steps
    member = np.sort(rng.integers(0, size.members, n)).astype(np.int32)
    return Requests(
        group_at=np.array([91 * DAY]),
        shelf_start=np.zeros(1, dtype=np.int64),
        shelf_end=np.array([size.sales]),
        shelf_sale=np.arange(size.sales, dtype=np.int32),
        shelf_curated=np.zeros(size.sales, dtype=np.bool_),
        member=member,
        at=np.full(n, 91 * DAY),
        group=np.zeros(n, dtype=np.int32),
        history_end=resident.member_ptr[member + 1],
        target_ptr=np.arange(n + 1),
        target_sale=(rng.random(n) ** 2 * size.sales).astype(np.int32),
        target_kind=np.ones(n, dtype=np.uint8),
        target_weight=np.ones(n, dtype=np.float32),
        outcome_us=DAY,
    )


class Step:
    """Training steps without Lightning around them."""

    def __init__(self, size: Size, device: torch.device, *, fuse: bool) -> None:
        """Build world, net and feed."""
        gpu = device.type == "cuda"
        resident, sizes = resident_of(size, device)
        requests = requests_of(size, resident, steps=8)
        spec = TwoTower(
            dim=size.dim,
            history=size.history,
            loss=Sampled(in_batch=size.in_batch, uniform=size.uniform),
            groups_per_batch=1,
            rows_per_group=size.rows,
        )
        net = TwoTowerNet(spec, sizes, used=resident.used, sales=size.sales, seed=1)
        kernel = Kernel(chunk=16_384 if gpu else 256, low=gpu, fuse=fuse)
        self.training = Training(net, place=Place(), kernel=kernel, total=10_000).to(device)
        loss = Sampled(in_batch=size.in_batch, uniform=size.uniform)
        planner = Planner.of(requests, loss, opens_at=resident.opens_at, device=device)
        assembler = Assembler.of(resident, planner, spec, share=Share())
        sampler = Sampler(requests, size.rows, 1, 1)
        self.training.feed = Feed(sampler, assembler, self.training.place)
        self.chunks = sampler.epoch(0)

    def __call__(self) -> None:
        """Do one step."""
        n = self.training.place.step
        chunks = self.chunks[n % len(self.chunks)]
        gradient(self.training, self.training.feed.assembler(chunks, (1, 0, n)))
        descend(self.training)


def wait(device: torch.device) -> None:
    """Let the device finish."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds(act: Callable[[], object], device: torch.device, *, times: int) -> float:
    """Return the median seconds of an act."""
    taken = []
    for _ in range(times):
        wait(device)
        started = time.perf_counter()
        act()
        wait(device)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def rates(device: torch.device) -> tuple[float, float]:
    """Measure bytes a second of a copy (read and written) and operations a second of a product."""
    gpu = device.type == "cuda"
    some = torch.rand(1 << (28 if gpu else 24), device=device)
    other = torch.empty_like(some)
    copy = 8 * some.numel() / seconds(lambda: other.copy_(some), device, times=7)
    n, kind = (8192, torch.bfloat16) if gpu else (1024, torch.float32)
    a = torch.randn(n, n, device=device).to(kind)
    product = 2 * n**3 / seconds(lambda: a @ a, device, times=7)
    return copy, product


def floor(size: Size, *, copy: float, product: float) -> dict[str, float]:
    """Return the least seconds of each part of a step (MODEL 10)."""
    rows, dim, columns = size.rows, size.dim, size.in_batch + size.uniform
    weights = 4 * dim * (size.values + size.sales)
    parts = {
        # x of the events, bfloat16, gathered once, and its gradient scattered once
        "history": 2 * 2 * rows * size.history * dim / copy,
        # features of every sale, gathered and scattered
        "features": 2 * 4 * size.sales * FIELDS * dim / copy,
        # logits, and two products of their gradients; 4 with those made again
        "logits": 3 * 2 * rows * columns * dim / product,
        "towers": 3 * 2 * (rows * 8 + size.sales * 4) * dim * dim / product,
        # weight, gradient, two moments and the average: read and written
        "optimiser": 9 * weights / copy,
    }
    return parts | {"sum": sum(parts.values())}


def profiled(step: Step, device: torch.device) -> str:
    """Return the kernels that take longest, as a table."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    keys = ["self_cpu_time_total"]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
        keys.append("self_cuda_time_total")
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(3):
            step()
        wait(device)
    found = profile.key_averages()
    return "\n".join(found.table(sort_by=key, row_limit=25) for key in keys)


def main() -> None:
    """Print one table, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few steps")
    parser.add_argument("--profile", action="store_true", help="print what takes longest")
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gpu = device.type == "cuda"
    size = BIG if gpu else SMALL
    copy, product = rates(device)
    least = floor(size, copy=copy, product=product)
    found = {}
    for name, fuse in {"plain": False, "compiled": True}.items():
        if fuse and not gpu:
            continue
        step = Step(size, device, fuse=fuse)
        for _ in range(3):
            step()
        found[name] = seconds(step, device, times=5 if asked.quick else 30)
        if asked.profile:
            print(profiled(step, device))
    print(f"  {torch.cuda.get_device_name() if gpu else 'CPU'}, torch {torch.__version__}")
    print(f"  copy {copy / 1e9:,.0f} GB/s, product {product / 1e12:,.2f} TFLOP/s")
    for part, value in least.items():
        print(f"  floor, {part:12}{1e3 * value:>10.2f} ms")
    rows = []
    for name, value in found.items():
        share = least["sum"] / value
        print(
            f"  step, {name:13}{1e3 * value:>10.2f} ms{size.rows / value:>14,.0f} requests/s"
            f"{share:>8.0%} of the floor"
        )
        rows.append({"name": name, "value": size.rows / value, "unit": "requests/s"})
    print(json.dumps({"benchmark": "train_step", "device": device.type, "rows": rows}))


if __name__ == "__main__":
    main()
