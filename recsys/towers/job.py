"""What training is asked for, and what it tells of each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recsys.domain.dataset import Dataset
from recsys.domain.encoded import Encoded
from recsys.domain.events import HOUR, QUICK, Events
from recsys.domain.requests import Requests
from recsys.domain.stop import StopFlag
from recsys.towers.spec import Auto, Trainer, TwoTower


@dataclass(frozen=True)
class EpochRow:
    """What one epoch of training came to."""

    epoch: int
    """Counted from 1."""
    loss: float
    """Mean over the epoch's requests."""
    ndcg_at_10: float
    """Of the validation part, whole shelves."""
    recall_at_10: float
    day0_ndcg_at_10: float
    """Among the sales of the last 24 h; NaN where no outcome is one."""
    best: bool
    """Whether this epoch beats all before it: its weights would be published."""
    requests_per_second: float
    """Training requests a second, validation not counted."""
    seconds: float
    """Spent on the epoch, validation included."""
    tau: float
    """Learned temperature."""
    skipped: int
    """Steps so far without a finite gradient."""
    warning: str = ""
    """What looks like a collapse; empty as a rule."""

    def headline(self, task: str) -> tuple[str, float]:
        """Return name and value of the figure that chooses the epoch, as Score.headline does."""
        if task == "shelf" and not math.isnan(self.day0_ndcg_at_10):
            return "val/day0_ndcg_at_10", self.day0_ndcg_at_10
        return "val/ndcg_at_10", self.ndcg_at_10


_QUICK_HOURS = (0.25, 1.0, 3.0)
_EVER = 1e6
"""Hours: longer than any past."""


def timely(towers: TwoTower, train: Requests, outcome_us: int, *, history: Events) -> TwoTower:
    """Return the settings with windows of popularity that suit how soon outcomes come.

    Sets without dates know no time: there all that ever was counts, at the test as in training.
    """
    if train.hidden_share:
        dated = _dated(train, history, towers.popularity_hours)
        return towers if dated else towers.model_copy(update={"popularity_hours": (_EVER,)})
    if outcome_us > QUICK:
        return towers
    hours = tuple(sorted({*_QUICK_HOURS, *towers.popularity_hours}))
    return towers.model_copy(update={"popularity_hours": hours})


def _dated(train: Requests, history: Events, hours: tuple[float, ...]) -> bool:
    """Tell whether most of what sets were made of is older than each window of popularity."""
    at = int(train.group_at.max(initial=0))
    past = history.at[history.at < at]
    lately = past >= at - int(max(hours, default=0.0) * HOUR)
    return 2 * int(np.count_nonzero(lately)) < len(past)


@dataclass(frozen=True)
class Chosen:
    """What validation chose in a first training, and a second one does without asking again."""

    epochs: int
    loudness: float
    """Factor on the sales' bias."""
    weight: float
    """Of the spectral coordinates; 0 = none."""


def _silent(_said: object) -> None:
    return


@dataclass(frozen=True)
class TowerJob:
    """One training: data, settings, and whom to tell."""

    dataset: Dataset
    encoded: Encoded
    train: Requests
    validation: Requests
    """Chooses the epoch."""
    folder: Path
    """Of the run; checkpoints are kept in `checkpoints` below it."""
    towers: TwoTower = field(default_factory=TwoTower)
    trainer: Trainer = field(default_factory=Auto)
    seed: int = 1
    resume: Path | None = None
    """A checkpoint to go on with; None = the newest whole one in `checkpoints`, if any."""
    warm: Path | None = None
    """A checkpoint of an earlier training to start from; only what came after it is learned."""
    stop: StopFlag = field(default_factory=StopFlag)
    on_epoch: Callable[[EpochRow], None] = _silent
    tell: Callable[[str], None] = _silent
    """Hears which damaged checkpoints were stepped over, what spectral coordinates gave, and how
    far vectors moved after a warm start."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the whole run by their dotted paths, for a logger to keep."""
    data_fingerprint: str = ""
    """Of the dataset; a checkpoint of other data is not gone on with."""
    refit: Requests | None = None
    """What a second training learns from, once a first one has chosen; None = there is none."""
    chosen: Chosen | None = None
    """Set in the second training."""

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are kept."""
        kept = self.folder / "checkpoints"
        return kept if self.chosen is None else kept / "refit"
