"""A prepared dataset in, everything that is learned from it out: towers, value, index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recsys.data import encode
from recsys.data.requests import Blocks, blocks
from recsys.domain.arrays import F32, I32
from recsys.domain.artefact import publish
from recsys.domain.dataset import Dataset
from recsys.domain.encoded import Encoded
from recsys.domain.errors import SettingError
from recsys.domain.stop import StopFlag
from recsys.rerank.fit import fit_ranker
from recsys.rerank.ranker import Ranker
from recsys.rerank.spec import Pure
from recsys.runs.earlier import Earlier, earlier
from recsys.runs.folder import flat
from recsys.runs.house import housed
from recsys.runs.prepare import Prepared
from recsys.runs.spec import Train
from recsys.towers import embed
from recsys.towers.embed import Embedder
from recsys.towers.fit import fit
from recsys.towers.job import EpochRow, TowerJob, timely


@dataclass(frozen=True)
class Task:
    """What is to be learned: five blocks of requests and the numbers of members and sales."""

    prepared: Prepared
    blocks: Blocks
    encoded: Encoded
    encoders: Path
    """The artefact of the fitted encoders."""
    earlier: Earlier | None = None
    """What the towers start from, if not anew."""

    @property
    def dataset(self) -> Dataset:
        """The checked dataset."""
        return self.prepared.dataset


@dataclass(frozen=True)
class Model:
    """What a bundle is made of: a dataset, its vectors, and how slates are made of them."""

    prepared: Prepared
    encoders: Path
    embedder: Embedder
    ranker: Ranker


@dataclass(frozen=True)
class Learned:
    """Towers and value model, ready to score requests and to make slates."""

    task: Task
    model: Model
    checkpoint: Path

    @property
    def embedder(self) -> Embedder:
        """The trained towers on the dataset."""
        return self.model.embedder

    @property
    def ranker(self) -> Ranker:
        """The fitted value model and how it makes slates."""
        return self.model.ranker

    def unit(self, sales: I32) -> F32:
        """Return the unit vectors of sale rows I32[s], F32[s, unit_dims]; they know no time."""
        vectors = self.embedder.sales(sales, self.task.dataset.watermark)
        return vectors[:, : self.embedder.unit_dims]


def pose(prepared: Prepared, spec: Train, folder: Path) -> Task:
    """Cut time into blocks and fit the encoders on the towers' block alone (RULINGS 4).

    A warm start keeps those it starts from.

    Raises:
        MissingArtefactError: there is nothing of the name to start from.
        SettingError: the value model would be fitted on what a refit has learned.
    """
    if spec.towers.refit and not spec.data.value_days and not isinstance(spec.rerank, Pure):
        raise SettingError(
            "towers.refit=true learns the days of validation, and data.value_days=0 fits the value "
            "model on them",
            "it would believe towers that know the answers",
            "give the value model days of its own: data.value_days=1",
        )
    cut = blocks(prepared.dataset, spec.data, refit=spec.towers.refit)
    start = earlier(spec)
    encoders = (
        encode.load(start.encoders)
        if start
        else encode.fit(prepared.dataset, cut.towers_until, spec.towers.table_bits)
    )
    kept = publish(
        folder / "encoders",
        "encoders",
        lambda draft: encode.save(encoders, draft),
        parents={"dataset": prepared.dataset.fingerprint},
    )
    return Task(prepared, cut, encode.encode(encoders, prepared.dataset), kept, start)


def job_of(task: Task, spec: Train, folder: Path) -> TowerJob:
    """Return the training that a run asks for; it tells nobody."""
    return TowerJob(
        dataset=task.dataset,
        encoded=task.encoded,
        train=task.blocks.towers,
        validation=task.blocks.validation,
        refit=task.blocks.refit,
        towers=timely(
            spec.towers,
            task.blocks.towers,
            task.blocks.validation.outcome_us,
            history=task.dataset.history,
        ),
        trainer=spec.trainer,
        seed=spec.seed,
        folder=folder,
        warm=task.earlier.checkpoint if task.earlier else None,
        settings=flat(spec.model_dump(mode="json")),
        data_fingerprint=task.dataset.fingerprint,
    )


def learn(
    task: Task,
    spec: Train,
    folder: Path,
    *,
    stop: StopFlag,
    on_epoch: Callable[[EpochRow], None],
    tell: Callable[[str], None],
) -> Learned:
    """Train the towers, or go on with the checkpoints in `folder`, then fit the value model.

    Raises:
        InterruptedRunError: a signal asked to stop; the state is saved.
        DivergedError: too many steps without a finite loss.
        GateError: no slates can keep what the campaign promises.
    """
    job = job_of(task, spec, folder)
    checkpoint = fit(replace(job, stop=stop, on_epoch=on_epoch, tell=tell))
    learned = rank(task, spec, checkpoint)
    for note in learned.ranker.value_model.notes:
        tell(f"  value    {note.removeprefix('value: ')}")
    ranker = housed(learned.ranker, learned.embedder, spec=spec.campaign, tell=tell)
    return replace(learned, model=replace(learned.model, ranker=ranker))


def rank(task: Task, spec: Train, checkpoint: Path) -> Learned:
    """Open trained towers and fit the value model that turns their scores into slates."""
    embedder = Embedder(embed.load(checkpoint), task.dataset, task.encoded)
    everything = np.arange(task.dataset.num_sales, dtype=np.int32)
    kernel = embedder.sales(everything, task.dataset.watermark)[:, : embedder.unit_dims]
    ranker = fit_ranker(
        spec.rerank,
        task.dataset.shop,
        value=task.blocks.value,
        calibration=task.blocks.calibration,
        taste=embedder.scorer(),
        kernel=kernel,
    )
    return Learned(task, Model(task.prepared, task.encoders, embedder, ranker), checkpoint)
