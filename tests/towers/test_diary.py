from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.loggers import CSVLogger

from recsys.domain.errors import SettingError
from recsys.towers import clerk, diary, loggers, processes
from recsys.towers.batches import Share
from recsys.towers.diary import Diary
from recsys.towers.fit import EpochRow, TowerJob, fit
from recsys.towers.lightning import Training
from recsys.towers.spec import Auto, Cpu, Ddp, Machine
from tests.towers.diaries import (
    LOGGERS,
    Points,
    mlflow_client,
    mlflow_runs,
    needing,
    points,
    settings,
)
from tests.towers.following import TWO, Steps, stopped_at
from tests.towers.shops import Shop, job

OF_THE_CLOCK = {"seconds", "requests_per_second"}
# MLflow 3.17 asks SQLAlchemy 2.1 for what it will drop
pytestmark = pytest.mark.filterwarnings("ignore:.*noload.*:DeprecationWarning")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Gives an empty store of MLflow's to copy: making one takes two seconds."""

    @cache
    def made() -> Path:
        file = tmp_path_factory.mktemp("store") / "mlflow.db"
        mlflow_client(f"sqlite:///{file}").search_experiments()
        return file

    return made


def asking(
    shop: Shop, folder: Path, logger: str, store: Callable[[], Path] | None = None
) -> TowerJob:
    if logger == "mlflow" and store is not None:
        folder.mkdir()
        shutil.copy(store(), folder)
    trainer = Cpu.model_validate({"threads": 1, "save_every_steps": 5, "logger": logger})
    told = {"name": "mine", "towers.dim": TWO.dim, "towers.popularity_hours": [24.0]}
    return replace(job(shop, folder, TWO), trainer=trainer, settings=told)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every third loss is told, and at once: the trainings here are short."""
    monkeypatch.setattr(diary, "NOTED_EVERY", 3)
    monkeypatch.setattr(clerk, "_SETTLE_EVERY", 1)


def timeless(told: Points) -> Points:
    return {name: at for name, at in told.items() if name not in OF_THE_CLOCK}


@pytest.mark.parametrize("logger", LOGGERS)
def test_a_logger_holds_every_epoch_and_the_loss_of_every_so_many_steps(
    shop: Shop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logger: str,
    store: Callable[[], Path],
) -> None:
    monkeypatch.setattr(diary, "NOTED_EVERY", 3)
    rows, losses = list[EpochRow](), list[float]()
    plain: Callable[..., torch.Tensor] = Training.training_step

    def step(*args: Any) -> torch.Tensor:
        loss = plain(*args)
        losses.append(float(loss.detach()))
        return loss

    monkeypatch.setattr(Training, "training_step", step)
    fit(replace(asking(shop, tmp_path / "run", logger, store), on_epoch=rows.append))
    told: dict[str, Any] = dict(points(tmp_path / "run", logger))
    assert told[diary.LOSS] == [
        (at, pytest.approx(losses[at - 1], rel=1e-6)) for at in (1, *range(3, len(losses) + 1, 3))
    ]
    ends = [len(losses) // 2, len(losses)]
    for name in diary.figures(rows[0]).keys() - {"val/day0_ndcg_at_10"}:
        wanted = [pytest.approx(diary.figures(row)[name], rel=1e-6) for row in rows]
        assert told[name] == list(zip(ends, wanted, strict=True)), name


def test_the_loss_of_a_step_in_pieces_is_that_of_the_step(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diary, "NOTED_EVERY", 1)
    told = {}
    for pieces, groups in ((1, 4), (4, 1)):
        asked = asking(shop, tmp_path / str(pieces), "csv")
        machine = asked.trainer.model_copy(update={"accumulate": pieces, "precision": "fp32"})
        towers = asked.towers.model_copy(update={"groups_per_batch": groups})
        fit(replace(asked, trainer=machine, towers=towers))
        told[pieces] = points(asked.folder, "csv")[diary.LOSS]
    steps, losses = zip(*told[4], strict=True)
    assert steps == tuple(range(1, len(steps) + 1)) == tuple(step for step, _ in told[1])
    assert losses == pytest.approx([loss for _, loss in told[1]], rel=1e-3)


@pytest.mark.parametrize("logger", LOGGERS)
def test_a_run_stopped_and_killed_holds_each_step_once_as_one_that_nothing_stopped(
    shop: Shop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logger: str,
    often: None,
    store: Callable[[], Path],
) -> None:
    whole, asked = (asking(shop, tmp_path / name, logger, store) for name in ("whole", "stopped"))
    fit(whole)
    stopped_at(asked, 4, monkeypatch)

    def die(done: int) -> None:
        if done == 6:  # step 9 was told, and the last checkpoint is of step 5
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        Steps(patched, die)
        with pytest.raises(KeyboardInterrupt):
            fit(asked)
    assert points(asked.folder, logger)[diary.LOSS][-1][0] == 9
    fit(asked)
    assert timeless(points(asked.folder, logger)) == timeless(points(whole.folder, logger))


@pytest.mark.parametrize("logger", LOGGERS)
def test_a_logger_keeps_the_settings_the_seed_and_the_name_of_the_run(
    shop: Shop,
    tmp_path: Path,
    logger: str,
    monkeypatch: pytest.MonkeyPatch,
    store: Callable[[], Path],
) -> None:
    asked = asking(shop, tmp_path / "2026-11-27_mine", logger, store)
    wanted = {
        "run": "2026-11-27_mine",
        "seed": "1",
        "name": "mine",
        "towers.dim": "8",
        "towers.popularity_hours": "[24.0]",
    }
    stopped_at(asked, 2, monkeypatch)
    assert settings(asked.folder, logger) == wanted
    # what may differ when it goes on is no other run
    fit(replace(asked, settings={**asked.settings, "name": "other"}))
    assert settings(asked.folder, logger) == (
        wanted | {"name": "other"} if logger == "csv" else wanted
    )


@pytest.mark.parametrize("logger", LOGGERS)
def test_loggers_are_quiet_too(
    shop: Shop, tmp_path: Path, capfd: pytest.CaptureFixture[str], logger: str
) -> None:
    fit(asking(shop, tmp_path / "run", logger))
    assert capfd.readouterr() == ("", "")
    left = {path.name for path in tmp_path.rglob("*")} | {
        path.name for path in Path.cwd().iterdir()
    }
    assert "mlruns" not in left


def test_another_process_than_the_first_opens_no_logger(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "share", lambda: Share(rank=1, world=2))
    fit(asking(shop, tmp_path / "run", "csv"))
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"checkpoints"}


@pytest.mark.slow
def test_of_several_processes_the_first_alone_tells(shop: Shop, tmp_path: Path) -> None:
    asked = asking(shop, tmp_path / "run", "csv")
    fit(replace(asked, trainer=Ddp(processes=2, device="cpu", threads=1, logger="csv")))
    assert [value for _, value in points(asked.folder, "csv")["epoch"]] == [1, 2]


@pytest.mark.parametrize("logger", [needing("mlflow")])
def test_runs_of_one_store_are_told_apart_and_say_how_they_ended(
    shop: Shop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logger: str,
    store: Callable[[], Path],
) -> None:
    where = f"sqlite:///{shutil.copy(store(), tmp_path / 'all.db')}"
    machine = Cpu.model_validate({"threads": 1, "logger": logger, "tracking": where})
    one, two = (replace(job(shop, tmp_path / n, TWO), trainer=machine) for n in ("one", "two"))
    fit(one)
    stopped_at(two, 3, monkeypatch)
    ends = {run.info.run_name: run.info.status for run in mlflow_runs(where)}
    assert ends == {"one": "FINISHED", "two": "KILLED"}
    fit(two)
    assert [run.info.status for run in mlflow_runs(where)] == ["FINISHED"] * 2
    assert not list(tmp_path.rglob("mlflow.db"))


def test_a_loss_stays_on_its_device_until_losses_are_settled() -> None:
    # torch refuses to read a tensor of the device `meta`: what reads a loss too early is caught
    unread = torch.empty((), device="meta")
    silent = Diary()
    silent.note(diary.NOTED_EVERY, unread)
    silent.settle()
    telling = Diary(CSVLogger("nowhere"))
    telling.note(diary.NOTED_EVERY, unread)
    telling.note(diary.NOTED_EVERY + 1, unread)
    assert [step for step, _ in telling.noted] == [diary.NOTED_EVERY]
    with pytest.raises(RuntimeError, match="Cannot copy out of meta tensor; no data"):
        telling.settle()


def test_without_a_logger_nothing_is_kept(shop: Shop, tmp_path: Path) -> None:
    fit(job(shop, tmp_path / "run", TWO))
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"checkpoints"}


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text("loss,step,tau\n1.0,3,0.1\n2.0,6,0.1\n3.0,9,0.1\n4.0,1")
    assert [row["step"] for row in diary._rows(file, 6)] == ["3", "6"]


@pytest.mark.parametrize("logger", sorted(loggers.NEEDS))
def test_a_missing_package_is_refused_before_anything_is_made(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger: str
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda _: None)
    extra = rf"(?s)trainer\.logger={logger} needs .*{logger}.*noon-recsys\[{logger}\]"
    with pytest.raises(SettingError, match=extra):
        fit(asking(shop, tmp_path / "run", logger))
    assert not (tmp_path / "run").exists()
    loggers.installed(Auto())
    loggers.installed(Auto(logger="csv"))


@pytest.mark.parametrize(
    ("logger", "tracking", "said"),
    [
        ("csv", "sqlite:///a.db", "tracking is for logger=mlflow"),
        ("mlflow", "a.db", "should match"),
        ("mlflow", "postgresql://x", "should match"),
    ],
)
def test_tracking_that_no_logger_reads_is_refused(logger: str, tracking: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Machine.model_validate({"logger": logger, "tracking": tracking})


def test_figures_without_a_value_are_left_out(tmp_path: Path) -> None:
    row = EpochRow(
        1, 0.5, 0.1, 0.2, math.nan, best=True, requests_per_second=9, seconds=1, tau=0.1, skipped=0
    )
    logger = CSVLogger(tmp_path)
    book = Diary(logger)
    book.epoch(row, 7)
    text = (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()[0]
    assert "val/ndcg_at_10" in text
    assert "day0" not in text
