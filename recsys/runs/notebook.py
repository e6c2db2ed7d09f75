"""What train.py does, step by step, for notebooks: polars frames in and out.

Each fit is a run like any other: a folder in `runs/` with its config, log, curve and checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from recsys.data.contract import check
from recsys.data.spec import EventTable, TablesSource
from recsys.domain.clock import us_of
from recsys.domain.errors import SettingError
from recsys.domain.packed import Packing
from recsys.domain.report import Report
from recsys.domain.spec import Spec
from recsys.domain.stop import StopFlag
from recsys.domain.tables import Tables
from recsys.evaluate import report as page
from recsys.evaluate import tradeoff
from recsys.evaluate.material import EpochRow
from recsys.runs.folder import RunFolder
from recsys.runs.journey import embark
from recsys.runs.judge import compare, judge, test_slates
from recsys.runs.learn import Learned
from recsys.runs.load import CONFIGS, from_plain, own_configs
from recsys.runs.prepare import Prepared
from recsys.runs.prepare import prepare as prepare_source
from recsys.runs.publish import publish
from recsys.runs.spec import Check, Train
from recsys.runs.train import learned_from, unless_stopped
from recsys.serve.answers import Answer
from recsys.serve.bundle import open_bundle
from recsys.serve.recommender import Recommender

IN_MEMORY = "(frames in memory)"
"""Stands where a source has a path."""
AGAIN = 'the same fit(...) with resume="auto"'
"""How a run that a signal stopped is gone on with."""
PLACE: dict[str, pl.DataType | type[pl.DataType]] = {
    "slot": pl.Int64,
    "sale": pl.String,
    "title": pl.String,
    "brand": pl.String,
    "taste": pl.Float64,
    "new": pl.Float64,
    "curated": pl.Float64,
    "gain": pl.Float64,
    "reason": pl.String,
    "because": pl.String,
    "evidence": pl.String,
    "flags": pl.List(pl.String),
}
"""Fields of a place on a slate, as in the service's answers."""


@dataclass(frozen=True)
class Fitted:
    """Trained towers, the value model, and the run's folder."""

    spec: Train
    folder: RunFolder
    learned: Learned
    epochs: tuple[EpochRow, ...]

    @cached_property
    def recommender(self) -> Recommender:
        """Answers as the service would, out of a bundle kept in the run's folder."""
        aside = self.spec.model_copy(update={"bundles_dir": str(self.folder.path / "bundles")})
        return Recommender(open_bundle(publish(self.learned.model, aside)))

    @property
    def curve(self) -> pl.DataFrame:
        """One row an epoch: epoch, loss, val_ndcg_at_10, val_recall_at_10, best."""
        names = ("epoch", "loss", "val_ndcg_at_10", "val_recall_at_10", "best")
        return pl.DataFrame({name: [getattr(row, name) for row in self.epochs] for name in names})

    def report(self) -> Path:
        """Judge, write report.html and report.json into the run's folder; return the page."""
        judged = judge(self.learned, self.spec, self.folder, curve=self.epochs, pause=lambda: None)
        page.write(judged, self.folder.path)
        return self.folder.path / "report.html"

    def publish(self) -> Path:
        """Publish a bundle and make it CURRENT: what serve_index.py answers from."""
        bundle = publish(self.learned.model, self.spec, dial=tradeoff.kept(self.folder.path))
        self.folder.record(bundle=bundle.name)
        return bundle


def prepare(
    data: str | Tables | Spec = "flash_sales", *, folder: Path | None = None, **settings: object
) -> Prepared:
    """Read a shop and hold it to the data contract.

    `data` is what `data=` names on the command line (a config of your own too), a source's Spec,
    or frames of your own as `recsys.domain.tables.Tables`. `settings` are fields of the source.
    `folder` is where quarantine.parquet goes, if anywhere.

    Raises:
        SettingError: no such source, or a setting it does not have.
        DataRefusedError: the tables cannot be used, or too many rows were set aside.
    """
    if isinstance(data, Tables):
        source = from_plain(_in_memory(data) | settings, TablesSource)
        checked = check(data, source, folder=folder)
        return Prepared(
            dataset=checked.dataset,
            source=source,
            checked=checked,
            notes=(*data.notes, *checked.warnings),
            of_the_past=False,
        )
    plain = named(data) if isinstance(data, str) else data.model_dump()
    return prepare_source(from_plain({"data": plain | settings}, Check).data, folder=folder)


def fit(shop: Prepared, **settings: object) -> Fitted:
    """Train the towers on a shop and fit the value model, an epoch a line.

    `settings` are fields of the towers (epochs=3, dim=32) or of a run (seed=2, rerank=..., quiet=
    True, resume="auto"; see recsys.runs.spec.Train).

    Raises:
        SettingError: no such setting, or the data are too short.
        InterruptedRunError: Ctrl-C, the notebook's stop button or SIGTERM asked to stop; what was
            learned is saved, and the same call with resume="auto" goes on.
    """
    run_wide = {name: value for name, value in settings.items() if name in Train.model_fields}
    towers = {name: value for name, value in settings.items() if name not in run_wide}
    plain: dict[str, Any] = {"name": "notebook", "data": shop.source.model_dump(), **run_wide}
    if towers:
        plain["towers"] = {"kind": "two_tower", **towers}
    spec = from_plain(plain, Train)
    with StopFlag(kills=False).listening() as stop, embark(spec, again=AGAIN) as run:
        learned, curve = learned_from(shop, spec, run, stop=stop)
        unless_stopped(stop)
    return Fitted(spec, run.folder, learned, tuple(curve.rows))


def embed(model: Fitted, *, at: datetime | None = None) -> dict[str, pl.DataFrame]:
    """Return "members" and "sales": id (str), vector (array of float32), one row each.

    Inner products of a member and a sale rank as the model does. `at` is the instant up to which
    pasts are known; None = the end of the data.
    """
    dataset, embedder = model.learned.task.dataset, model.learned.embedder
    instant = dataset.watermark if at is None else us_of(at)
    everyone = np.arange(dataset.num_members, dtype=np.int64)
    sales = np.arange(dataset.num_sales, dtype=np.int64)
    frame = Packing("fp32", embedder.unit_dims).frame
    return {
        "members": frame(embedder.embeddings_members(everyone, instant)),
        "sales": frame(embedder.embeddings_sales(sales, instant)),
    }


def evaluate(model: Fitted) -> pl.DataFrame:
    """Judge on the test block beside every baseline.

    Returns scorer, slice, metric, value, low, high (95 % interval by member), n (requests).
    """
    taste = model.learned.embedder.scorer()
    slates = test_slates(model.learned, taste)
    judged = compare(model.learned, model.spec, taste=taste, slates=slates)
    return figures(judged)


def recommend(
    model: Fitted, members: str | Sequence[str], *, slots: int = 6, at: datetime | None = None
) -> pl.DataFrame:
    """Make a slate for each member: one row a place, with score parts and the reason.

    Columns: member, fallback (personalised, segment, curated or newest), then those of PLACE;
    taste + new + curated = gain. `at` is the instant to answer for; None = the end of the data.
    """
    wanted = [members] if isinstance(members, str) else list(members)
    end = model.learned.task.dataset.watermark
    asked = model.recommender.recommend(wanted, slots=slots, at=end if at is None else us_of(at))
    return slates(asked)


def named(data: str) -> dict[str, Any]:
    """Return the settings of the source that `data=` would name.

    Raises:
        SettingError: there is none of that name.
    """
    roots = [*own_configs(Path.cwd()), CONFIGS]
    files = {file.stem: file for root in roots for file in sorted((root / "data").glob("*.yaml"))}
    if data not in files:
        raise SettingError(f"data={data} is not there", f"data can be: {', '.join(sorted(files))}")
    plain: dict[str, Any] = yaml.safe_load(files[data].read_text(encoding="utf-8"))
    return plain


def _in_memory(tables: Tables) -> dict[str, Any]:
    """Describe frames as a source that has no files."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", tables.name).lstrip("-_")[:64] or "tables"
    source = TablesSource(zone=tables.zone, name=name, events=EventTable(path=IN_MEMORY))
    return source.model_dump(exclude_unset=True) | {"shelf_hours": tables.shelf_hours}


def figures(report: Report) -> pl.DataFrame:
    """Return all figures of a report as rows."""
    return pl.DataFrame(
        [
            (scorer, where, metric, found.value, found.low, found.high, found.n)
            for scorer, slices in report.scorers.items()
            for where, metrics in slices.items()
            for metric, found in metrics.items()
        ],
        schema={
            "scorer": pl.String,
            "slice": pl.String,
            "metric": pl.String,
            "value": pl.Float64,
            "low": pl.Float64,
            "high": pl.Float64,
            "n": pl.Int64,
        },
        orient="row",
    )


def slates(answers: Sequence[Answer]) -> pl.DataFrame:
    """Return answers as rows, one a place."""
    rows = [
        (answer.member, answer.fallback, *(getattr(place, name) for name in PLACE))
        for answer in answers
        for place in answer.sales
    ]
    schema = pl.Schema({"member": pl.String, "fallback": pl.String, **PLACE})
    return pl.DataFrame(rows, schema=schema, orient="row")
