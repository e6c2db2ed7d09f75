"""Training state in and out of checkpoints: weights, averages, moments, place, what it is of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from recsys.domain.artefact import read_manifest
from recsys.domain.errors import SettingError
from recsys.towers import checkpoint, warm
from recsys.towers.job import TowerJob
from recsys.towers.keys import sale_keys
from recsys.towers.lightning import Training


def meta(job: TowerJob, world: int) -> dict[str, Any]:
    """Return what the weights are of; equal for all checkpoints that may continue each other."""
    return {
        "spec": job.towers.model_dump(mode="json"),
        "seed": job.seed,
        "data": job.data_fingerprint,
        "encoders": job.encoded.fingerprint,
        "processes": world,
        "accumulate": job.trainer.accumulate,
        "warm": read_manifest(job.warm).fingerprint if job.warm else "",
        "chosen": asdict(job.chosen) if job.chosen else {},
    }


def save(job: TowerJob, training: Training, name: str) -> Path:
    """Publish the state of training under a name."""
    assembler = training.feed.assembler
    state = {
        "meta": meta(job, assembler.share.world),
        "until": int(job.train.at.max()),
        "sizes": asdict(training.net.sizes),
        "place": asdict(training.place),
        "net": dict(training.net.state_dict()),
        "averaged": dict(training.averaged.state_dict()),
        "adam": training.adam.state_dict(),
        "rows": [rows.state() for rows in training.rows],
        "sale_keys": sale_keys(job.dataset.sales["sale"]),
        "used": torch.from_numpy(assembler.resident.used),
    }
    return checkpoint.save(
        job.checkpoints,
        name,
        state,
        parents={"dataset": job.data_fingerprint, "encoders": job.encoded.fingerprint},
        spec=job.towers.model_dump(mode="json"),
    )


def restore(job: TowerJob, training: Training, *, world: int) -> None:
    """Go on with `job.resume`, or with the newest whole checkpoint of the folder, if any.

    Without one, start from the weights of `job.warm`, if that is asked for.

    Raises:
        SettingError: the checkpoint is of other settings, data or a number of processes.
    """
    folder = job.resume or checkpoint.newest(job.checkpoints, job.tell)
    if folder is None:
        warm.start(job, training)
        return
    state, _ = checkpoint.load(folder)
    _check_same(folder, state["meta"], meta(job, world))
    training.net.load_state_dict(state["net"])
    training.averaged.load_state_dict(state["averaged"])
    training.adam.load_state_dict(state["adam"])
    for rows, kept in zip(training.rows, state.get("rows", []), strict=True):
        rows.load(kept)
    for name, value in state["place"].items():
        setattr(training.place, name, value)


def _check_same(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name, value in wanted.items():
        if found.get(name, {}) != value:
            raise SettingError(
                f"{folder} cannot be gone on with: its {name} is another",
                f"found {_difference(found.get(name, {}), value)}",
                "start a new run, or put the setting back",
            )


def _difference(found: Any, wanted: Any) -> str:
    """Name the fields that differ, or both values."""
    if not isinstance(found, Mapping):
        return f"{found}, wanted {wanted}"
    fields = [k for k in wanted if found.get(k) != wanted[k]]
    return ", ".join(f"{k}={found.get(k)}, wanted {wanted[k]}" for k in fields)
