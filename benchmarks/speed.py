"""Trainings that are timed, weighed and compared; each is meant for a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import made, peers
from benchmarks.cells import Meter, anonymous_mb
from benchmarks.reference import Reference
from benchmarks.training import Trained
from benchmarks.turns import Took, in_turn
from recsys.data.contract import check
from recsys.domain.arrays import I64
from recsys.domain.requests import Requests
from recsys.domain.schema import Categorical, Schema
from recsys.domain.tables import Tables
from recsys.public.read import read
from recsys.public.spec import CompleteJourney
from recsys.runs.learn import Task, pose
from recsys.runs.prepare import Prepared
from recsys.runs.spec import Data, Train
from recsys.towers.fit import fit
from recsys.towers.job import TowerJob
from recsys.towers.spec import Causal, TwoTower
from recsys.towers.warm import settled

IDS = TwoTower(
    id="free",
    history=1,
    event_dropout=0.0,
    history_dropout=0.0,
    field_dropout=0.0,
)
"""Own vectors alone, and the last event, for none is not a length."""
LENGTH = 50
"""Events that attention looks back on."""
SMALL = made.Size(members=120, sales=600, events=6_000)
OTHERS = 240 * 512
"""Positives that the reference and peers learn from in a turn."""


def source_of(*, quick: bool) -> tuple[Tables, Data]:
    """Return the tables to learn from, and how they are cut."""
    if quick:
        return made.shop(SMALL), made.SOURCE
    source = CompleteJourney()
    return read(source), source


def ids_alone(tables: Tables) -> Tables:
    """Leave the numbers of members and sales, and nothing else that is known of them."""
    members = tables.events.select(pl.col("member").unique().sort())
    return replace(
        tables,
        schema=Schema(members=(Categorical(column="who"),), sales=()),
        members=members.with_columns(who="member"),
        sales=tables.sales.select("sale", "opens_at"),
    )


def task_of(data: tuple[Tables, Data], towers: TwoTower, folder: Path) -> Task:
    """Hold tables to the contract and pose what is to be learned."""
    tables, source = data
    checked = check(tables, source)
    spec = Train.model_construct(data=source, towers=towers)
    return pose(Prepared(checked.dataset, source, checked, ()), spec, folder)


def trained(task: Task, towers: TwoTower, folder: Path, *, steps: int = 0) -> Trained:
    """Make ready to train; validation is a request alone, for it is not what is timed."""
    blocks = task.blocks
    unjudged = {"epochs": 1_000, "patience": 0, "balance": (1.0,)}
    job = TowerJob(
        dataset=task.dataset,
        encoded=task.encoded,
        train=blocks.towers,
        validation=blocks.validation.take(np.arange(1)),
        towers=towers.model_copy(update=unjudged),
        folder=folder,
    )
    return Trained(settled(job), steps=steps)


def pairs_of(requests: Requests) -> tuple[I64, I64]:
    """Return member and sale of each positive, I64[t]."""
    member = np.repeat(requests.member, np.diff(requests.target_ptr))
    return member.astype(np.int64), requests.target_sale.astype(np.int64)


@dataclass(frozen=True)
class Found:
    """What runs in turn took, and what our steps are made of."""

    took: dict[str, list[Took]]
    shares: dict[str, dict[str, float]]
    """Case -> part of a step -> its share in the seconds of the processor."""
    epoch: int
    """Positives of an epoch."""
    positions: float
    """Events that attention encodes for each positive."""


def timed(*, quick: bool) -> Found:
    """Train each case with and without Lightning, the reference and the peers, in turn."""
    steps, pairs = (1, 1) if quick else (10, 5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables, source = source_of(quick=quick)
        bare = task_of((ids_alone(tables), source), IDS, folder / "ids")
        task = task_of((tables, source), TwoTower(), folder / "full")
        del tables
        cases = {
            "ids only": (bare, IDS),
            "history and metadata": (task, TwoTower()),
            "attention": (task, TwoTower(history=LENGTH, encoder=Causal())),
        }
        ours = {
            case: trained(posed, towers, folder / case, steps=steps)
            for case, (posed, towers) in cases.items()
        }
        runs: dict[str, Callable[[], Took]] = {}
        for case, one in ours.items():
            runs |= {case: one.lightning, f"{case}, bare": one.bare}
        reference = Reference(*pairs_of(task.blocks.towers))
        runs["reference"] = lambda: reference.run(OTHERS)
        with peers.runs(task.dataset, task.blocks.towers, positives=OTHERS) as others:
            found = in_turn(runs | others, pairs=pairs)
        return Found(
            took=found,
            shares={case: one.shares() for case, one in ours.items()},
            epoch=len(task.blocks.towers.target_sale),
            positions=LENGTH * len(task.blocks.towers) / len(task.blocks.towers.target_sale),
        )


def peak(*, quick: bool) -> dict[str, float]:
    """Return the most memory (anonymous, 2^20 bytes) of reading and of one epoch of training."""
    with tempfile.TemporaryDirectory() as name, Meter() as reading:
        tables, source = source_of(quick=quick)
        task = task_of((tables, source), TwoTower(), Path(name))
        del tables
    with tempfile.TemporaryDirectory() as name, Meter() as training:
        fit(
            TowerJob(
                dataset=task.dataset,
                encoded=task.encoded,
                train=task.blocks.towers,
                validation=task.blocks.validation,
                towers=TwoTower(epochs=1),
                folder=Path(name),
            )
        )
    return {"reading": reading.cost.peak_mb or 0.0, "training": training.cost.peak_mb or 0.0}


def epoch_of(size: made.Size, *, history: int) -> tuple[float, float, float]:
    """Train an epoch on a random shop, from the making of its tables on.

    Returns seconds of the processor that the steps took, the most anonymous memory at one time
    beyond what the libraries hold, and what these hold, both in 2^20 bytes.
    """
    libraries, towers = anonymous_mb() or 0.0, TwoTower(history=history)
    with tempfile.TemporaryDirectory() as name, Meter() as meter:
        task = task_of((made.shop(size), made.SOURCE), towers, Path(name))
        took = trained(task, towers, Path(name)).lightning()
    return took.processor, (meter.cost.peak_mb or libraries) - libraries, libraries
