"""A few of the moments of benchmarks.killed: kills, stops, in a save and on another file system."""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import killed
from recsys.towers.job import TowerJob

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[TowerJob, float]:
    """A training that nothing ended, and its seconds."""
    killed.CONTEXT.set_forkserver_preload(killed.LIBRARIES)
    job = killed.job_of(tmp_path_factory.mktemp("whole"))
    killed.finish(replace(job, folder=tmp_path_factory.mktemp("warm")))
    return job, killed.finish(job)


@pytest.mark.parametrize("trial", list(killed.trials()), ids=lambda trial: trial.promise)
def test_a_training_ended_anywhere_comes_to_the_same_weights(
    whole: tuple[TowerJob, float], trial: killed.Trial
) -> None:
    if trial.where is None:
        pytest.skip("there is one file system alone")
    trial.go(whole[0], 2, rng=random.Random(4), seconds=whole[1])
    assert not trial.faults
    assert (trial.moments, trial.finished >= 1) == (2, True)
    assert trial.broken == 2 if trial.saving else trial.broken <= 2


def test_the_other_file_system_is_another() -> None:
    other = killed.elsewhere()
    if other is None:
        pytest.skip("there is one file system alone")
    assert other.stat().st_dev != Path(tempfile.gettempdir()).stat().st_dev


def test_other_weights_are_seen(whole: tuple[TowerJob, float], tmp_path: Path) -> None:
    other = replace(whole[0], folder=tmp_path, seed=2)
    killed.finish(other)
    assert killed.weights(other) != killed.weights(whole[0])
