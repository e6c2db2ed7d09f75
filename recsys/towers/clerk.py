"""Between steps: saves, signals, validation, the line of each epoch."""

from __future__ import annotations

import json
import signal
import threading
import time
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from recsys.domain.errors import RecsysError
from recsys.towers import checkpoint, state
from recsys.towers.diary import Diary
from recsys.towers.job import EpochRow, TowerJob
from recsys.towers.lightning import Training
from recsys.towers.monitor import UNJUDGED, Score, balance, warning
from recsys.towers.negatives import ragged
from recsys.towers.slack import Slack
from recsys.towers.vectors import Vectors

_SETTLE_EVERY = 50
"""Steps between looks at the losses; a look makes the device wait."""


class Clerk(pl.Callback):
    """Keeps checkpoints (newest two and best), polls the stop flag, judges each epoch."""

    def __init__(self, job: TowerJob, diary: Diary) -> None:
        """Remember the signal handlers that stand: Lightning puts its own over them."""
        self.job, self.diary = job, diary
        self.handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        self.since = time.perf_counter()
        self.cut = False
        self.slack = Slack()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the signal handlers back: they only raise a flag."""
        del trainer, pl_module
        if threading.current_thread() is threading.main_thread():
            for number, handler in self.handlers.items():
                signal.signal(number, handler)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        del trainer, pl_module
        self.since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Settle every 50 steps; save now and then, and at once when asked to stop."""
        del args, kwargs
        training = _training(pl_module)
        self.slack()
        pieces = training.feed.accumulate
        if len(training.losses) % pieces:
            return  # in the middle of a step
        loss = torch.stack(training.losses[-pieces:]).sum()
        self.diary.note(training.place.total, loss)
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return  # the end of the epoch saves what is settled then
        stop = trainer.strategy.reduce_boolean_decision(self.job.stop.raised, all=False)
        due = training.place.total % self.job.trainer.save_every_steps == 0
        if stop or due or len(training.skipped) >= _SETTLE_EVERY:
            self._settle(training)
        if stop or due:
            training.place.seconds += time.perf_counter() - self.since
            self.since = time.perf_counter()
            self._save(trainer, training, f"step-{training.place.total:08d}")
        if stop:
            self.cut = trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate, tell, save; stop when nothing got better for long enough."""
        if self.cut:
            return
        training = _training(pl_module)
        self._settle(training)
        trained = training.place.seconds + time.perf_counter() - self.since
        job, place = self.job, training.place
        score = self._balanced(training)
        # where all is chosen, the last epoch stands
        headline = place.epoch + 1.0 if job.chosen else score.headline(job.dataset.task)
        name = f"step-{place.total:08d}-epoch-{place.epoch + 1:04d}"
        best = not place.best_name or headline > place.best
        if best:
            place.best, place.best_name, place.stale = headline, name, 0
        else:
            place.stale += 1
        spent = place.seconds + time.perf_counter() - self.since
        row = self._row(training, score, best=best, seconds=(trained, spent))
        self.diary.epoch(row, place.total)
        place.epoch, place.step, place.loss, place.seconds = place.epoch + 1, 0, 0.0, 0.0
        self._save(trainer, training, name)
        if trainer.is_global_zero:
            job.on_epoch(row)
        stop = trainer.strategy.reduce_boolean_decision(job.stop.raised, all=False)
        trainer.should_stop = stop or training.finished

    def _balanced(self, training: Training) -> Score:
        """Judge the averaged weights, and let their bias speak as loudly as ranks best."""
        training.follow_all()
        job, tower = self.job, training.averaged.sale_tower
        if job.chosen:
            tower.loudness.fill_(job.chosen.loudness)
            return UNJUDGED
        tower.loudness.fill_(1.0)
        self.slack.settle()
        vectors = Vectors(training.averaged, training.feed.assembler.resident)
        louder, score = balance(
            vectors, job.validation, job.towers.balance, seed=job.seed, task=job.dataset.task
        )
        self.slack.settle()
        tower.loudness.fill_(louder)
        return score

    def _row(
        self, training: Training, score: Score, *, best: bool, seconds: tuple[float, float]
    ) -> EpochRow:
        place = training.place
        return EpochRow(
            epoch=place.epoch + 1,
            loss=place.loss / max(1, place.step),
            ndcg_at_10=score.ndcg,
            recall_at_10=score.recall,
            day0_ndcg_at_10=score.day0_ndcg,
            best=best,
            requests_per_second=len(training.feed.sampler.requests) / max(seconds[0], 1e-9),
            seconds=seconds[1],
            tau=float(training.averaged.tau),
            skipped=len(place.bad),
            warning=warning(score),
        )

    def _settle(self, training: Training) -> None:
        """Bring losses to the host; what a skipped step held is written down."""
        self.diary.settle()
        before = len(training.place.bad)
        try:
            training.settle()
        finally:
            if len(training.place.bad) > before:
                self._write_bad(training)

    def _write_bad(self, training: Training) -> None:
        sampler, rows = training.feed.sampler, []
        learned = sampler.requests
        for epoch, step in training.place.bad:
            requests = np.concatenate([c.rows for c in sampler.epoch(epoch)[step]])
            members = np.unique(learned.member[requests]).tolist()
            _, cells = ragged(learned.target_ptr, requests)
            sales = np.unique(learned.target_sale[cells]).tolist()
            rows.append({"epoch": epoch + 1, "step": step, "members": members, "sales": sales})
        path = self.job.folder / "bad_batches.json"
        path.write_text(json.dumps(rows), encoding="utf-8")

    def _save(self, trainer: pl.Trainer, training: Training, name: str) -> None:
        """Save on the first process; where that fails, all stop together."""
        failure: RecsysError | None = None
        if trainer.is_global_zero:
            try:
                state.save(self.job, training, name)
                checkpoint.prune(self.job.checkpoints, {training.place.best_name})
            except RecsysError as error:
                failure = error
        if trainer.strategy.reduce_boolean_decision(failure is not None, all=False):
            raise failure or RecsysError("the first process could not save a checkpoint")


def _training(module: pl.LightningModule) -> Training:
    if not isinstance(module, Training):
        raise TypeError(f"the clerk works for Training, not for {type(module).__name__}")
    return module
