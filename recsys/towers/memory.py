"""What a training will hold on its device at once, said before it starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from recsys.domain.encoded import Features
from recsys.domain.errors import NoRoomError
from recsys.towers.batches import Sampler
from recsys.towers.device import Device
from recsys.towers.job import TowerJob
from recsys.towers.lately import key_type, narrowest, tabled
from recsys.towers.losses import resolve
from recsys.towers.resident import rows_in_use
from recsys.towers.slack import SLACK
from recsys.towers.spec import Causal, Full, LiveShelf, Sampled
from recsys.towers.stretches import in_periods
from recsys.towers.two_tower import Sizes, TwoTowerNet

_FLOAT, _INT = 4, 8
_EVENT = 4 + 4 + 1
"""Bytes of an event: sale, second, what."""
_GIB = 1 << 30
_GROUP = Path("/sys/fs/cgroup")
_LEVERS = {
    "weights": "towers.dim or towers.table_bits",
    "gradients": "towers.dim or towers.table_bits",
    "moments": "towers.dim or towers.table_bits",
    "averages": "towers.dim or towers.table_bits",
    "data": "data of fewer days",
    "a step": "towers.rows_per_group (trainer.accumulate keeps the step as large)",
    "a save": "towers.dim or towers.table_bits",
    "freed": "towers.rows_per_group (trainer.accumulate keeps the step as large)",
}
"""What is held -> what would make it smaller."""


@dataclass(frozen=True)
class Need:
    """Bytes at once, by what they are for, and the bytes that the device has."""

    parts: dict[str, int]
    free: int
    room: int
    kind: str
    """cpu or cuda."""

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self.parts.values())

    @property
    def lines(self) -> tuple[str, str, str]:
        """Say it, the largest parts first."""
        parts = sorted(self.parts.items(), key=lambda part: -part[1])
        said = [f"{name} {_written(size)}" for name, size in parts]
        head = f"about {_written(self.total)} of {_written(self.room)} ({self.kind})"
        return head, f"{', '.join(said[:3])},", ", ".join(said[3:])

    def fits(self) -> None:
        """Refuse what the device does not hold.

        Raises:
            NoRoomError: it has less free; names what takes most and what makes that smaller.
        """
        if self.total <= self.free:
            return
        largest = max(self.parts, key=lambda name: self.parts[name])
        raise NoRoomError(
            f"training needs {self.lines[0]}",
            " ".join(self.lines[1:]),
            f"{_written(self.free)} are free",
            f"{largest} takes most: lower {_LEVERS[largest]}",
            "or take another device: trainer=cpu, trainer=gpu",
        )


def _written(size: int) -> str:
    return f"{size / _GIB:.1f} GB" if size >= _GIB else f"{size / (1 << 20):.0f} MB"


def need(job: TowerJob, device: Device) -> Need:
    """Estimate what a training holds at once on its device, libraries not counted.

    On a CPU all processes share the memory, and a checkpoint is copied there before it is written:
    steps and saves are never at once.
    """
    # the second of two trainings is the larger one
    train = job.train if job.refit is None else job.refit
    job = replace(job, train=in_periods(train, job.towers))
    tables = _tables(job)
    large = [rows for rows in tables.values() if rows > job.towers.rows_above]
    weights = _FLOAT * (_others(job) + sum(tables.values()) * job.towers.dim)
    dense = weights - _FLOAT * sum(large) * job.towers.dim
    shared = tables["table"] * (tables["table"] <= job.towers.rows_above)
    parts = {
        "weights": weights,
        "gradients": dense,
        "moments": 2 * dense + (_FLOAT + _INT) * sum(large),
        "averages": weights,
        "data": _data(job),
        # the gradient of the shared table is made once for each of its two uses
        "a step": _step(job, by_rows=bool(large)) + _FLOAT * shared * job.towers.dim,
    }
    if device.kind == "cpu":
        # what a step freed and training has not given back yet
        parts["freed"] = min(SLACK, parts["a step"])
        parts = {name: size * device.processes for name, size in parts.items()}
        save = 2 * weights + parts["moments"] // device.processes
        if save > parts["a step"]:
            del parts["a step"]
            parts["a save"] = save
    free, room = _room(device)
    return Need(parts, free, room, device.kind)


def _tables(job: TowerJob) -> dict[str, int]:
    """Count the rows of the tables."""
    own = {} if job.towers.id == "off" else {"own": job.dataset.num_sales}
    return {"table": len(rows_in_use(job.encoded))} | own


def _others(job: TowerJob) -> int:
    """Count the weights that stand in no table."""
    with torch.device("meta"):
        small = TwoTowerNet(
            job.towers,
            Sizes.of(job.encoded),
            used=np.zeros(0, dtype=np.int64),
            sales=0,
            seed=job.seed,
        )
    return sum(p.numel() for p in small.parameters())


def _data(job: TowerJob) -> int:
    """Bytes of histories, features, requests, and of the keys that counts are looked up by."""
    history, windows = job.dataset.history, 1 + len(job.towers.popularity_hours)
    events, requests = len(history), job.train
    cells = requests.num_groups * job.dataset.num_sales
    kind = key_type(requests.num_groups, job.dataset.num_sales)
    counts = np.dtype(kind).itemsize * events * windows
    if tabled(cells, events):
        most = int(np.bincount(history.sale, minlength=1).max())
        counts = np.dtype(narrowest(most)).itemsize * cells * windows
    return (
        _EVENT * events
        + counts
        + sum(map(_features, (job.encoded.members, job.encoded.sales)))
        + _INT * (len(requests.shelf_sale) + len(requests))
        + (2 * _INT + _FLOAT) * len(requests.target_sale)
    )


def _features(of: Features) -> int:
    # row, field and weight of a value: four bytes each
    return 3 * _FLOAT * len(of.row) + _INT * len(of.ptr) + _FLOAT * of.dense.size


def _step(job: TowerJob, *, by_rows: bool) -> int:
    """Bytes of the largest tensors of a step, those kept for its gradients among them."""
    towers, encoded = job.towers, job.encoded
    sampler = Sampler.of(job.train, towers, job.seed, accumulate=job.trainer.accumulate)
    groups = towers.groups_per_batch
    rows, dim = sampler.rows_per_group * groups, towers.dim
    columns = _columns(job)
    if sampler.cut is not None:  # stretches lie anywhere in time
        groups = min(rows, job.train.num_groups)
    # targets of their own stand behind what is drawn
    pairs = groups * columns + rows * len(job.train.target_sale) // len(job.train)
    sales = min(job.dataset.num_sales, rows * towers.history + pairs)
    cells = sum(
        int(len(side.row) / max(1, side.num) * some)
        for side, some in ((encoded.members, rows), (encoded.sales, sales))
    )
    numbers = (
        # gradients of touched rows as they come, summed, and what Adagrad makes of them
        5 * cells * dim * by_rows
        + _pasts(job, sampler, rows)
        + sales * 14 * dim
        + rows * 20 * dim
        # numbers and places of the columns; the vectors of one decision time, three times
        + pairs * 90
        + 3 * columns * dim
        + cells * 20
        # logits of a chunk, their shares, and what is masked
        + 4 * min(16_384 if rows > 16_384 else 256, sampler.rows_per_group) * columns
    )
    return _FLOAT * numbers


def _pasts(job: TowerJob, sampler: Sampler, rows: int) -> int:
    """Numbers that reading the pasts of a step's requests takes."""
    towers, encoder = job.towers, job.towers.encoder
    heads = 6 * (1 + len(towers.decay_days))
    if sampler.cut is None or not isinstance(encoder, Causal):
        # x of the events with its gradient; places, kinds, ages and weights of the heads
        return rows * towers.history * (3 * towers.dim + 12 + heads)
    events = sampler.stretches(sampler.cut) // job.trainer.accumulate * towers.history
    # of a pair of events: shifts, scores and shares of each head of attention
    pair = 6 * encoder.blocks * encoder.heads + 6
    return (
        events * (3 + 16 * encoder.blocks) * towers.dim
        + events * towers.history * pair
        # of a request and an event: the pooled heads, padded to the busiest stretch
        + rows * towers.history * (2 * heads + 12)
    )


def _columns(job: TowerJob) -> int:
    """Return the most columns of a decision time."""
    lengths = job.train.shelf_end - job.train.shelf_start
    longest = int(lengths.max(initial=0))
    match resolve(job.towers, job.train, job.dataset.task):
        case Sampled(in_batch=in_batch, uniform=uniform):
            return in_batch + uniform
        case LiveShelf(archive_draws=draws):
            return longest + draws
        case Full():
            return longest
        case other:
            return int(other.width(lengths).max(initial=0))


def _room(device: Device) -> tuple[int, int]:
    """Return the free and all bytes of a device."""
    if device.kind == "cuda":
        free, room = torch.cuda.mem_get_info()
        return int(free), int(room)
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    free, room = 1024 * kilobytes["MemAvailable"], 1024 * kilobytes["MemTotal"]
    return _within_quota(free, room)


def _within_quota(free: int, room: int, group: Path = _GROUP) -> tuple[int, int]:
    """Return the same within the quota of a container, where there is one."""
    try:
        most = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return free, room
    if most == "max":
        return free, room
    return min(free, int(most) - used), min(room, int(most))
