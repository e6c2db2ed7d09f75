"""What a run's logger holds, read back by the logger's own readers."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys.towers.loggers import NEEDS

Points = dict[str, list[tuple[int, float]]]
"""Name -> (step, value) of each point, in the order in which they were told."""


def needing(logger: str) -> Any:
    """Return a logger as a parameter that is skipped where its extra is not installed."""
    lacks = any(find_spec(package) is None for package in NEEDS.get(logger, ()))
    reason = f"needs the extra {logger}: make trackers"
    return pytest.param(logger, marks=pytest.mark.skipif(lacks, reason=reason))


LOGGERS = [needing(name) for name in ("csv", "tensorboard", "mlflow")]


def points(folder: Path, logger: str) -> Points:
    """Return what was told."""
    return {"csv": from_csv, "tensorboard": from_tensorboard, "mlflow": from_mlflow}[logger](folder)


def settings(folder: Path, logger: str) -> dict[str, str]:
    """Return the settings kept, as text."""
    if logger == "mlflow":
        (run,) = mlflow_runs(f"sqlite:///{folder / 'mlflow.db'}")
        return dict(run.data.params)
    if logger == "tensorboard":
        return session_of(folder)
    kept: dict[str, Any] = yaml.safe_load((folder / logger / "hparams.yaml").read_text())
    return {name: str(value) for name, value in kept.items()}


def session_of(folder: Path) -> dict[str, str]:
    """Return the settings that TensorBoard shows of a run."""
    plugin = import_module("tensorboard.plugins.hparams.plugin_data_pb2")
    about = events_in(folder).SummaryMetadata("_hparams_/session_start_info")
    page = plugin.HParamsPluginData.FromString(about.plugin_data.content)
    kinds: dict[str, Callable[[Any], str]] = {
        "string_value": str,
        "number_value": "{:g}".format,
        "bool_value": str,
    }
    return {
        name: kinds[kind](getattr(value, kind))
        for name, value in page.session_start_info.hparams.items()
        if (kind := value.WhichOneof("kind"))
    }


def from_csv(folder: Path) -> Points:
    found: Points = defaultdict(list)
    with (folder / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        step = int(row.pop("step"))
        for name, value in row.items():
            found[name] += [(step, float(value))] if value else []
    return dict(found)


def events_in(folder: Path) -> Any:
    """Return what TensorBoard reads in a run's folder."""
    reader = import_module("tensorboard.backend.event_processing.event_accumulator")
    where = str(folder / "tensorboard")
    return reader.EventAccumulator(where, size_guidance={"scalars": 0}).Reload()


def from_tensorboard(folder: Path) -> Points:
    events = events_in(folder)
    return {
        name: [(point.step, point.value) for point in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def from_mlflow(folder: Path) -> Points:
    where = f"sqlite:///{folder / 'mlflow.db'}"
    (run,) = mlflow_runs(where)
    return {
        name: [
            (point.step, point.value)
            for point in mlflow_client(where).get_metric_history(run.info.run_id, name)
        ]
        for name in run.data.metrics
    }


def mlflow_client(where: str) -> Any:
    """Open a store of MLflow's; one that is not there is made."""
    return import_module("mlflow.tracking").MlflowClient(where)


def mlflow_runs(where: str) -> list[Any]:
    """Return all runs of a store of MLflow's."""
    client = mlflow_client(where)
    return list(client.search_runs([one.experiment_id for one in client.search_experiments()]))
