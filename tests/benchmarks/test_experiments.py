"""The door to the experiments: what it runs, refuses and stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import experiments, trial
from benchmarks.cells import (
    Cell,
)
from benchmarks.page import boards
from recsys.domain.errors import SettingError
from recsys.evaluate.spec import Evaluate
from recsys.runs.spec import Train
from recsys.towers.spec import TwoTower
from recsys.world.spec import FlashSales
from tests.benchmarks.hand import made


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """A trial that gives a cell at once, and a store that is a list."""
    kept_here: list[Cell] = []

    def keep(cell: Cell) -> Path:
        kept_here.append(cell)
        return Path(cell.name)

    monkeypatch.setattr(trial, "cell", lambda *_, **__: made())
    monkeypatch.setattr(trial, "digest_of", lambda *_: boards()["beauty"].md5)
    monkeypatch.setattr(experiments, "store", keep)
    return kept_here


@pytest.mark.parametrize("word", ["quick=true", "--quick"])
def test_a_quick_cell_is_never_stored(no_work: list[Cell], word: str) -> None:
    experiments.act(["run=beauty", "seed=1", word])
    assert no_work == []
    experiments.act(["run=beauty", "seed=1"])
    assert no_work == [made()]


def test_another_split_of_that_name_is_refused(
    no_work: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "digest_of", lambda *_: "0" * 32)
    with pytest.raises(SettingError, match="another split under the same name"):
        experiments.act(["run=beauty", "seed=1"])
    assert no_work == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run=nothing"], "run=nothing is not there"),
        (["run=beauty", "seed=one"], "seed='one'"),
        (["run=beauty", "quick=maybe"], "neither true nor false"),
        (["walk=beauty"], "not known: walk"),
    ],
)
def test_a_word_that_cannot_be_read_is_named(words: list[str], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        experiments.act(words)


def test_a_cell_is_what_the_public_functions_give(record: Callable[[], Cell]) -> None:
    cell = record()
    assert cell.seed == 3
    assert (cell.epochs, cell.best_epoch) == (1, 1)
    assert set(cell.figures) >= {"taste", "slates", "random", "popular", "item_knn"}
    assert cell.figures["taste"]["all/ndcg_at_10"].n == cell.requests["test"] > 0
    assert min(cell.reading.seconds, cell.training.seconds, cell.judging.seconds) > 0
    assert cell.fits.keys() >= {"random", "popular", "item_knn"}


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Cell]:
    """One real cell on the built-in shop."""
    monkeypatch.chdir(tmp_path)
    spec = Train(
        data=FlashSales(size="small"),
        towers=TwoTower(dim=8, epochs=1),
        evaluate=Evaluate(baselines=("item_knn",), bootstrap_draws=100),
        seed=3,
    )
    return lambda: trial.cell(
        "online_retail", spec, board=boards()["online_retail"], digest="0" * 32
    )


def test_the_seed_and_the_place_are_no_settings() -> None:
    spec = trial.spec_of("beauty", 1, root="here", quick=False)
    other = trial.spec_of("beauty", 2, root="there", quick=False)
    assert trial.settings_of(spec) == trial.settings_of(other)
    assert trial.settings_of(spec) != trial.settings_of(
        trial.spec_of("ml_1m", 1, root=None, quick=False)
    )
    assert getattr(spec.data, "root", "") == "here"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    spec = trial.spec_of("beauty", 1, root=str(tmp_path), quick=False)
    with pytest.raises(SettingError, match=r"does not hold Beauty.txt.gz"):
        trial.digest_of(spec, "Beauty.txt.gz")
