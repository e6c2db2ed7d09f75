"""What one of Lightning's loggers is told of a training, also of one that goes on after a stop."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger
from torch import Tensor

from recsys.towers.job import EpochRow, TowerJob

NOTED_EVERY = 100
"""Steps between two losses that are told; that of the first step is too."""
LOSS = "step/loss"
EXPERIMENT = "recsys"
"""What MLflow files the runs under."""


class Diary:
    """Tells a logger a loss now and then and what each epoch came to; without a logger, nobody."""

    def __init__(self, logger: Logger | None = None, *, told: int = -1) -> None:
        """Start after `told`, the last step that the logger knows of."""
        self.logger, self.told = logger, told
        self.noted: list[tuple[int, Tensor]] = []

    def note(self, step: int, loss: Tensor) -> None:
        """Remember the loss of a step where it was computed, if it is one to be told."""
        if self.logger is not None and (step % NOTED_EVERY == 0 or step == 1):
            self.noted.append((step, loss))

    def settle(self) -> None:
        """Bring the losses noted to the host, all at once, and tell them."""
        if not self.noted:
            return
        losses = torch.stack([loss for _, loss in self.noted]).tolist()
        for (step, _), loss in zip(self.noted, losses, strict=True):
            self._tell({LOSS: loss}, step)
        self.noted.clear()

    def epoch(self, row: EpochRow, step: int) -> None:
        """Tell what the epoch that ended with a step came to; what has no value is left out."""
        told = figures(row)
        self._tell({name: value for name, value in told.items() if not math.isnan(value)}, step)

    def _tell(self, told: dict[str, float], step: int) -> None:
        if self.logger is not None and step > self.told:
            self.logger.log_metrics(told, step)
            # on the disk before the checkpoint is, so that no resumed run has a gap
            self.logger.save()


def figures(row: EpochRow) -> dict[str, float]:
    """Return the numbers of an epoch under the names that metrics.csv has for them."""
    return {
        "epoch": float(row.epoch),
        "loss": row.loss,
        "val/ndcg_at_10": row.ndcg_at_10,
        "val/recall_at_10": row.recall_at_10,
        "val/day0_ndcg_at_10": row.day0_ndcg_at_10,
        "best": float(row.best),
        "requests_per_second": row.requests_per_second,
        "seconds": row.seconds,
        "tau": row.tau,
        "skipped": float(row.skipped),
    }


@contextmanager
def kept(job: TowerJob, step: int) -> Generator[Diary]:
    """Open the diary of a training that stands at a step, and close it however the block ends.

    What an earlier part of the run told of later steps is told anew, or not a second time.
    """
    diary = opened(job, step)
    status = "failed"
    try:
        yield diary
        status = "KILLED" if job.stop.raised else "success"
    finally:
        if diary.logger is not None:
            diary.logger.finalize(status)


def opened(job: TowerJob, step: int) -> Diary:
    """Return the diary that the settings ask for, its first page written."""
    match job.trainer.logger:
        case "none":
            return Diary()
        case "csv":
            return _csv(job, step)
        case "tensorboard":
            return _tensorboard(job, step)
        case "mlflow":
            return _mlflow(job)


def _settings(job: TowerJob) -> dict[str, Any]:
    return {"run": job.folder.name, "seed": job.seed, **job.settings}


def _csv(job: TowerJob, step: int) -> Diary:
    """Write csv/metrics.csv and csv/hparams.yaml in the run's folder."""
    logger = CSVLogger(job.folder, name="", version="csv", flush_logs_every_n_steps=1)
    before = _rows(job.folder / "csv" / "metrics.csv", step)
    # Lightning starts the file anew: what it held up to here is told first
    logger.experiment.metrics = before
    logger.log_hyperparams(_settings(job))
    logger.save()
    return Diary(logger)


def _rows(file: Path, step: int) -> list[dict[str, Any]]:
    """Return the rows up to a step; none where there is no file."""
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    # a line that a kill cut short lacks its last columns
    return [row for row in rows if None not in row.values() and int(row["step"]) <= step]


def _tensorboard(job: TowerJob, step: int) -> Diary:
    """Write event files into tensorboard/ in the run's folder."""
    from torch.utils.tensorboard.summary import hparams

    fresh = not (job.folder / "tensorboard").exists()
    logger = TensorBoardLogger(
        job.folder,
        name="",
        version="tensorboard",
        default_hp_metric=False,
        purge_step=None if fresh else step + 1,
    )
    if fresh:
        plain = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in _settings(job).items()
        }
        logger.log_hyperparams(plain)
        # Lightning's own page of settings wants a made-up figure beside it
        for page in hparams(plain, {"val/ndcg_at_10": 0.0}):  # type: ignore[no-untyped-call]
            logger.experiment.file_writer.add_summary(page)
        logger.save()
    return Diary(logger)


def _mlflow(job: TowerJob) -> Diary:
    """Keep a run in mlflow.db in the run's folder, or where `trainer.tracking` says."""
    # read when mlflow is imported; what a person has set stands
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    from mlflow.tracking import MlflowClient

    where = job.trainer.tracking or f"sqlite:///{job.folder.resolve() / 'mlflow.db'}"
    client, run_id, told = MlflowClient(where), None, -1
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        same = f"attributes.run_name = '{job.folder.name}'"
        for run in client.search_runs([experiment.experiment_id], same, max_results=1):
            run_id = run.info.run_id
            metrics = [client.get_metric_history(run_id, name) for name in (LOSS, "epoch")]
            told = max((point.step for history in metrics for point in history), default=-1)
            client.update_run(run_id, "RUNNING")
    logger = MLFlowLogger(EXPERIMENT, run_name=job.folder.name, tracking_uri=where, run_id=run_id)
    if run_id is None:
        logger.log_hyperparams(_settings(job))
    return Diary(logger, told=told)
