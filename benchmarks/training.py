"""One net and one feed, with Lightning around them and without: what the benchmarks time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import pytorch_lightning as pl
import torch

from benchmarks.turns import Clock, Took
from recsys.data import encode
from recsys.data.requests import blocks
from recsys.runs.prepare import prepare as prepare_source
from recsys.towers.batches import Batch, Chunk, Sampler
from recsys.towers.device import resolve
from recsys.towers.feed import Feed
from recsys.towers.fit import lightning, prepare, quiet
from recsys.towers.job import TowerJob
from recsys.towers.lightning import Training
from recsys.towers.slack import Slack
from recsys.towers.spec import Cpu, TwoTower
from recsys.world.spec import FlashSales

_SETTLE_EVERY = 50
"""Steps between looks at the losses, as the clerk's."""


def job_of(source: FlashSales, towers: TwoTower, folder: Path) -> TowerJob:
    """Make a training on the built-in shop as train.py would, on one thread."""
    dataset = prepare_source(source).dataset
    cut = blocks(dataset, source)
    encoders = encode.fit(dataset, int(cut.towers.at.max()) + 1, towers.table_bits)
    return TowerJob(
        dataset,
        encode.encode(encoders, dataset),
        cut.towers,
        cut.validation,
        folder,
        towers=towers,
        trainer=Cpu(threads=1),
        data_fingerprint=dataset.fingerprint,
    )


def gradient(training: Training, batch: Batch) -> None:
    """Make the gradient of a step."""
    loss = training.training_step(batch, training.place.step)
    training.adam.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped


def descend(training: Training) -> None:
    """Move the weights by the gradient, and the averaged ones after them."""
    training.on_before_optimizer_step(training.adam)
    share = training.at_rate()
    training.adam.step()
    training.move_on(share)
    if len(training.losses) >= _SETTLE_EVERY:
        training.settle()


def positives(batch: Batch) -> int:
    """Count the targets of a step's requests."""
    return sum(len(block.targets.row) for block in batch.blocks)


@dataclass(frozen=True)
class First(Sampler):
    """The first steps of each epoch, in batches as large as those of all."""

    first: int = 0

    def epoch(self, epoch: int) -> list[list[Chunk]]:
        """Return them."""
        return super().epoch(epoch)[: self.first]


class Watch(pl.Callback):
    """Times the steps of an epoch, and not the validation and saves that follow."""

    took: Took

    def start(self) -> None:
        """Start the clock."""
        self._clock, self._done = Clock(), 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Count what was done; Lightning gives outputs, batch and its number."""
        del trainer, pl_module, kwargs
        self._done += positives(args[1])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop it."""
        del trainer, pl_module
        self.took = self._clock.took(self._done)


@dataclass(frozen=True)
class Watched(Feed):
    """A feed that starts a watch when it is asked for the first batch."""

    watch: Watch = field(kw_only=True)

    def __iter__(self) -> Iterator[Batch]:
        """Start it, and go through the epoch: Lightning asks before the epoch's first hook."""
        self.watch.start()
        yield from super().__iter__()


class Trained:
    """A job's net, trained an epoch at a time; work is counted in positives."""

    def __init__(self, job: TowerJob, *, steps: int = 0) -> None:
        """Prepare as `fit` does; `steps` of each epoch, 0 = all."""
        self.job, self.device = job, resolve(job.trainer)
        torch.set_num_threads(self.device.threads)
        self.training = prepare(job, self.device)
        feed = self.training.feed
        self.steps = feed.sampler.steps
        if steps:
            some = First(**vars(feed.sampler), first=steps)
            self.training.feed = replace(feed, sampler=some)

    def bare(self) -> Took:
        """Go through an epoch without Lightning; memory is given back as the clerk does it."""
        slack = Slack()
        clock, done = Clock(), 0
        for batch in self.training.feed:
            gradient(self.training, batch)
            descend(self.training)
            done += positives(batch)
            slack()
        took = clock.took(done)
        self._next_epoch()
        return took

    def lightning(self) -> Took:
        """Go through an epoch as `fit` does; the clerk's saves and validation are not counted."""
        watch, feed = Watch(), self.training.feed
        self.training.feed = Watched(**vars(feed), watch=watch)
        with quiet():
            lightning(self.job, self.device, self.training, watch, epochs=1)
        self.training.feed = feed
        return watch.took

    def shares(self) -> dict[str, float]:
        """Return the share of each part of a step in the seconds of the processor."""
        training, spent = (
            self.training,
            {"feed": 0.0, "forward and backward": 0.0, "optimiser": 0.0},
        )
        # in one thread, for what another does meanwhile would be counted here
        feed = training.feed.in_turn()

        def spend(part: str, act: Callable[[], Any]) -> Any:
            since = process_time()
            done = act()
            spent[part] += process_time() - since
            return done

        while (batch := spend("feed", partial(next, feed, None))) is not None:
            spend("forward and backward", partial(gradient, training, batch))
            spend("optimiser", partial(descend, training))
        self._next_epoch()
        whole = sum(spent.values())
        return {part: seconds / whole for part, seconds in spent.items()}

    def _next_epoch(self) -> None:
        self.training.settle()
        self.training.place.epoch, self.training.place.step = self.training.place.epoch + 1, 0
