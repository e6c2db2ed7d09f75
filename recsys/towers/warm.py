"""Yesterday's towers in, today's start out; only the new days are learned (MODEL 5)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from recsys.domain.arrays import F32, I64
from recsys.domain.errors import DataRefusedError, SettingError
from recsys.domain.requests import Requests
from recsys.towers import embed
from recsys.towers.embed import Embedder, Trained
from recsys.towers.job import TowerJob
from recsys.towers.keys import sale_keys
from recsys.towers.lightning import Training
from recsys.towers.negatives import generator
from recsys.towers.resident import rows_in_use
from recsys.towers.stretches import in_periods

ANCHORS = 1_000
"""Sales and members whose vectors are compared with those before."""
_BY_ROW = {"table", "sale_input.own", "sale_input.known"}
"""Weights with a row for each value or sale: rows are carried over, and their number may change."""


def settled(job: TowerJob) -> TowerJob:
    """Return the job with the epochs and rates of a warm start, if it is one."""
    if job.warm is None:
        return job
    towers = job.towers
    slower = {
        "epochs": towers.warm_epochs,
        "rate": towers.rate * towers.warm_rate,
        "table_rate": towers.table_rate * towers.warm_rate,
        "row_rate": towers.row_rate * towers.warm_rate,
    }
    return replace(job, towers=towers.model_copy(update=slower))


def lesson(job: TowerJob) -> Requests:
    """Return the training requests that are learned from: after a warm start those since then.

    In periods, where pasts are read in stretches; outcomes that this costs are told.

    Raises:
        DataRefusedError: there are none since then, or none with an outcome.
        SettingError: they are to share decision times, and each has a shelf of its own.
    """
    new = _new(job)
    asked = in_periods(new, job.towers)
    if len(asked.target_sale) < len(new.target_sale):
        lost = len(new.target_sale) - len(asked.target_sale)
        job.tell(
            f"  periods  {lost:,} of {len(new.target_sale):,} outcomes are left out: on sales that "
            "opened after their period began (towers.encoder.period_days)"
        )
    return asked


def _new(job: TowerJob) -> Requests:
    if job.warm is None:
        return job.train
    until = embed.load(job.warm).until
    new = job.train.take(np.flatnonzero(job.train.at > until))
    if not len(new.target_sale):
        raise DataRefusedError(
            f"{job.warm} has learned all of {job.dataset.name} there is to learn from",
            f"{len(new)} of {len(job.train)} training requests are later",
            "start from an earlier run, or wait for another day, several where it was refitted",
        )
    return new


def start(job: TowerJob, training: Training) -> None:
    """Put the averaged weights of `job.warm` into a training; it stays as it is without one.

    Values and sales never seen start as ever. A sale counts as known that was known then or is now.

    Raises:
        SettingError: those towers are of another shape, or know other encoders.
    """
    if job.warm is None:
        return
    trained, net = embed.load(job.warm), training.net
    _check_alike(job, trained, training)
    known = net.sale_input.known.clone()
    now = replace(trained, spec=net.spec, seed=job.seed)
    weights = now.net(rows_in_use(job.encoded), job.dataset).state_dict()
    for one in (net, training.averaged):
        one.load_state_dict(weights)
        one.sale_input.known.copy_(torch.maximum(one.sale_input.known, known))
        one.sale_tower.loudness.fill_(1.0)


def _check_alike(job: TowerJob, trained: Trained, training: Training) -> None:
    wanted = training.net.state_dict()
    differ = [
        name
        for name in sorted(trained.weights.keys() | wanted.keys())
        if name not in trained.weights
        or name not in wanted
        or trained.weights[name].shape[name in _BY_ROW :] != wanted[name].shape[name in _BY_ROW :]
    ]
    if trained.encoders != job.encoded.fingerprint:
        differ.append("its encoders")
    if differ:
        raise SettingError(
            f"{job.warm} cannot be started from: {differ[0]} is of another shape or kind",
            "the settings that shape towers (dim, encoder, id, ...) must be those it was made with",
            "put them back, or start anew: leave out warm_start",
        )


def moved(job: TowerJob, best: Path) -> str:
    """Say how near the vectors of 1,000 sales and members stayed to those before the start."""
    if job.warm is None:
        raise ValueError("there is no earlier training to compare with")
    before, after = embed.load(job.warm), embed.load(best)
    keys = sale_keys(job.dataset.sales["sale"]).numpy()
    sales = _some(np.flatnonzero(np.isin(keys, before.sale_keys)), job.seed)
    members = _some(np.flatnonzero(np.diff(job.dataset.history.member_ptr)), job.seed)
    then, now = (_units(job, trained, (sales, members)) for trained in (before, after))
    near = [float((a * b).sum(axis=1).mean()) for a, b in zip(then, now, strict=True)]
    return (
        f"  warm     mean cosine to {before.fingerprint}: {len(sales):,} sales {near[0]:.4f}, "
        f"{len(members):,} members {near[1]:.4f}"
    )


def _some(rows: I64, seed: int) -> I64:
    drawn = generator(seed, ANCHORS).permutation(len(rows))[:ANCHORS]
    return np.sort(rows[drawn])


def _units(job: TowerJob, trained: Trained, rows: tuple[I64, I64]) -> tuple[F32, F32]:
    """Return the unit parts of sales and of members."""
    embedder = Embedder(trained, job.dataset, job.encoded)
    at, unit = job.dataset.watermark, slice(0, embedder.unit_dims)
    return embedder.sales(rows[0], at)[:, unit], embedder.members(rows[1], at)[:, unit]
