"""What stands in docs/benchmarks.md was measured, and says whose figure it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from benchmarks import cells as store_room
from benchmarks import experiments, trial
from benchmarks.cells import (
    STATUS,
    Cell,
    Cost,
    Meter,
    config_of,
    kept,
    names,
    store,
    stored,
    together,
    written,
)
from benchmarks.page import PAGE, PUBLISHED, Board, boards, page
from recsys.domain.errors import SettingError
from recsys.domain.report import Estimate
from recsys.evaluate.spec import Evaluate
from recsys.runs.load import compose
from recsys.runs.spec import Train
from recsys.towers.spec import TwoTower
from recsys.world.spec import FlashSales

COST = Cost(seconds=1.0, processor_seconds=2.0, peak_mb=3.0)
NEEDED = {
    "beauty",
    "citeulike_cold",
    "complete_journey",
    "ebnerd",
    "globo",
    "gowalla",
    "ml_100k",
    "ml_1m",
    "online_retail",
}


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.01, high=value + 0.01, n=9)


def made(seed: int = 1, value: float = 0.5, **changed: Any) -> Cell:
    figures = {
        scorer: {"all/recall_at_10": estimate(each), "all/ndcg_at_10": estimate(each / 2)}
        for scorer, each in {"taste": value, "item_knn": 0.25, "slates": 0.9}.items()
    }
    plain: dict[str, Any] = {
        "experiment": "beauty",
        "seed": seed,
        "made_at": f"2026-11-27T00:00:0{seed}+00:00",
        "machine": "2 CPU cores",
        "load": 1.5,
        "commit": "abc",
        "written": written("beauty"),
        "settings": "5e77",
        "file": "Beauty.txt.gz",
        "md5": boards()["beauty"].md5,
        "requests": {"test": 9},
        "epochs": 5,
        "best_epoch": 2,
        "reading": COST,
        "training": COST,
        "judging": COST,
        "fits": {"item_knn": 0.1},
        "figures": figures,
    }
    return Cell(**plain | changed)


def rows(text: str, title: str) -> list[list[str]]:
    """Cells of the lines of one section's tables."""
    section = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_is_what_the_cells_render_to() -> None:
    assert PAGE.read_text() == page(boards(), stored())


def test_each_experiment_has_a_board_and_a_config() -> None:
    assert set(names()) == set(boards()) == NEEDED


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_what_a_board_shows_is_judged(name: str) -> None:
    spec, board = compose("train", Train, [f"experiment={name}"]), boards()[name]
    assert spec.data.kind == name.removesuffix("_cold")
    depths = {int(k) for shown in board.shown for _, at, k in [shown.rpartition("_at_")] if at}
    assert depths <= set(spec.evaluate.ks)
    by_sale = {shown.partition("/")[0] for shown in board.shown} - {"all"}
    assert not by_sale or "sale" in spec.evaluate.slices
    assert spec.rerank.slots in spec.evaluate.ks or board.ours == ("taste",)
    assert spec.evaluate.headline in board.shown


def test_a_cell_is_about_the_bytes_that_the_published_figures_are_about() -> None:
    assert [c.name for c in stored() if c.md5 != boards()[c.experiment].md5] == []


@pytest.mark.parametrize("name", ["", " "])
def test_a_published_figure_without_its_system_is_refused(name: str) -> None:
    plain = boards()["beauty"].model_dump()
    with pytest.raises(ValidationError):
        Board.model_validate(plain | {"figures": {name: (0.1, 0.2)}})


def test_a_published_figure_for_a_column_that_is_not_there_is_refused() -> None:
    plain = boards()["beauty"].model_dump()
    with pytest.raises(ValidationError, match="1 figures for 2 columns"):
        Board.model_validate(plain | {"figures": {"SASRec": (0.1,)}})


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_every_row_of_others_names_its_system_and_its_source(name: str) -> None:
    board = boards()[name]
    text = page(boards(), [])
    found = [
        row
        for row in rows(text, board.title)
        if row[-1] in {"published", "measured for this project"}
    ]
    assert [row[0] for row in found] == list(board.figures)
    shown = [[None if c == "-" else float(c) for c in row[1:-1]] for row in found]
    assert shown == [list(row) for row in board.figures.values()]
    assert board.source in text


def test_what_was_not_run_is_said_to_be_missing() -> None:
    text = page(boards(), [])
    assert text.count("**missing**: not run") == len(NEEDED)
    assert text.count("ours and the baselines are **missing**") == len(NEEDED)
    assert page(boards(), [made()]).count("**missing**: not run") == len(NEEDED) - 1


def test_ours_is_the_mean_of_the_seeds_with_their_spread_and_number() -> None:
    text = page(boards(), [made(1, 0.5), made(2, 0.6), made(3, 0.7)])
    table = {row[0]: row[1:] for row in rows(text, boards()["beauty"].title)}
    first = "**0.6000 ± 0.0100 (0.5000 to 0.7000)**"
    second = "**0.3000 ± 0.0100 (0.2500 to 0.3500)**"
    assert table["**taste**"] == [first, second, "ours, 3 seeds"]
    assert table["item knn"] == ["0.2500 ± 0.0100", "0.1250 ± 0.0100", "baseline, same run"]
    # this set judges rankings alone: its slates know nothing of films that were seen
    assert not any("slates" in system for system in table)


def test_seeds_of_other_settings_or_data_are_not_averaged() -> None:
    old, new = made(1, settings="0"), [made(2, 0.4), made(3, 0.6)]
    assert together([old, *new]) == new
    assert together([made(1, md5="0" * 32), *new]) == new
    text = page(boards(), [old, *new])
    assert "Not counted, other settings or data: seed 1." in text
    assert "**0.5000 ± 0.0100 (0.4000 to 0.6000)**" in text


def test_a_config_that_changed_since_is_said() -> None:
    assert "has changed since" not in page(boards(), [made()])
    assert "has changed since" in page(boards(), [made(written="0")])


def test_a_comment_does_not_change_what_a_config_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "experiment").mkdir()
    copy = tmp_path / "experiment" / "beauty.yaml"
    copy.write_text("# another word\n" + config_of("beauty").read_text())
    before = written("beauty")
    monkeypatch.setattr(store_room, "CONFIGS", tmp_path)
    assert written("beauty") == before
    copy.write_text(copy.read_text() + "towers:\n  dim: 32\n")
    assert written("beauty") != before


def test_a_cell_is_read_as_it_was_stored(tmp_path: Path) -> None:
    store(made(1), tmp_path)
    store(made(2), tmp_path)
    assert stored(tmp_path) == [made(1), made(2)]
    (tmp_path / "beauty-2.json").rename(tmp_path / "beauty-7.json")
    with pytest.raises(ValueError, match=r"beauty-7.json holds beauty-2.json"):
        stored(tmp_path)


def test_a_write_that_breaks_leaves_the_old_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(made(1, 0.5), tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    with pytest.raises(OSError, match="No space"):
        store(made(1, 0.9), tmp_path)
    assert stored(tmp_path) == [made(1, 0.5)]


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


@pytest.mark.skipif(not STATUS.is_file(), reason="this system does not tell a process's memory")
def test_the_meter_sees_memory_that_was_given_back() -> None:
    with Meter(every=0.001) as nothing:
        pass
    with Meter(every=0.001) as meter:
        held = np.ones(64 << 17)  # 64 MB
        total = sum(float(held.sum()) for _ in range(20))
        del held
    assert total > 0
    assert nothing.cost.peak_mb is not None
    assert meter.cost.peak_mb is not None
    assert meter.cost.peak_mb > nothing.cost.peak_mb + 50
    assert meter.cost.seconds > 0


def test_a_cell_keeps_rankings_and_leaves_the_rest() -> None:
    one = estimate(0.123456789)
    report = {
        "taste": {"all": {"ndcg_at_10": one, "ild_at_10": one, "ndcg_at_10_minus_popular": one}}
    }
    assert kept(report | {"x": {"channel_mail": {"mrr": one}}}) == {
        "taste": {"all/ndcg_at_10": Estimate(value=0.12346, low=0.11346, high=0.13346, n=9)},
        "x": {},
    }


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


def test_the_figures_of_others_lie_beside_the_page() -> None:
    assert PUBLISHED.parent == PAGE.parent
