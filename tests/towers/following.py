"""Follow a training run: its checkpoints, its steps, where it stops."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys.domain.errors import (
    InterruptedRunError,
)
from recsys.domain.stop import StopFlag
from recsys.towers import checkpoint
from recsys.towers.fit import TowerJob, fit
from recsys.towers.lightning import Training
from recsys.towers.spec import TwoTower

TWO = TwoTower(dim=8, epochs=2, patience=0)


def state_of(folder: Path) -> dict[str, Any]:
    """Return all that a checkpoint holds but how long it took."""
    state, _ = checkpoint.load(folder)
    state["place"].pop("seconds")
    return state


def flat(state: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of a nested state by their path."""
    if isinstance(state, dict):
        items = [flat(value, f"{path}/{key}") for key, value in state.items()]
    elif isinstance(state, list | tuple):
        items = [flat(value, f"{path}/{n}") for n, value in enumerate(state)]
    else:
        return {path: state}
    return {key: value for part in items for key, value in part.items()}


def assert_same_bits(one: Path, other: Path) -> None:
    ours, theirs = flat(state_of(one)), flat(state_of(other))
    assert ours.keys() == theirs.keys()
    for path, value in ours.items():
        same = (
            torch.equal(value, theirs[path]) if isinstance(value, Tensor) else value == theirs[path]
        )
        assert same, path


def newest(asked: TowerJob) -> Path:
    found = checkpoint.newest(asked.checkpoints)
    assert found is not None
    return found


def total(asked: TowerJob) -> int:
    steps: int = state_of(newest(asked))["place"]["total"]
    return steps


def killed_at(asked: TowerJob, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train as far as the start of a step, and end there with nothing said or saved."""

    def die(done: int) -> None:
        if done == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        Steps(patched, die)
        with pytest.raises(KeyboardInterrupt):
            fit(asked)


class Steps:
    """Calls `act` when so many steps of training have begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act: Callable[[int], None]) -> None:
        self.done = 0
        plain = Training.training_step

        def step(training: Training, batch: Any, batch_idx: int) -> Tensor:
            self.done += 1
            act(self.done)
            return plain(training, batch, batch_idx)

        monkeypatch.setattr(Training, "training_step", step)


def stopped_at(asked: TowerJob, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise the job's stop flag in a step, as a signal would, and run into it."""
    flag = StopFlag()

    def act(done: int) -> None:
        if done == step:
            flag.handle(signal.SIGTERM, None)

    with monkeypatch.context() as patched:
        Steps(patched, act)
        with pytest.raises(InterruptedRunError, match="saved") as caught:
            fit(replace(asked, stop=flag))
    assert caught.value.signal_code == 143
