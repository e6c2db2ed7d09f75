from __future__ import annotations

import json
import re
import shlex
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recsys.domain import artefact
from recsys.domain.errors import GateError, InterruptedRunError
from recsys.runs.asked import Asked
from recsys.runs.folder import RunFolder, start
from recsys.runs.spec import Doctor, Train
from recsys.runs.sweep import Outcome, best_of, short, sweep
from recsys.towers.spec import TwoTower
from tests.runs.starting import SMALL, TRAIN, begin, ended, recsys, train, wait_for

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DIMS = (8, 16, 32)
FIGURES = {8: 0.1, 16: 0.3, 32: 0.2}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(*, resume: str | None = None) -> list[Asked[Any]]:
    return [
        Asked(Train(towers=TwoTower(dim=dim), resume=resume), ("data=x", f"++towers.dim={dim}"))
        for dim in DIMS
    ]


def published(dim: int) -> str:
    """Publish something, make it CURRENT as a run does, and return its name."""

    def write(draft: Path) -> None:
        (draft / "dim.txt").write_text(str(dim))

    root = Path("bundles")
    root.mkdir(exist_ok=True)
    made = artefact.publish(root, "bundle", write)
    artefact.point(root, made.name)
    return made.name


def played(ends: dict[int, Exception | None]) -> Callable[..., None]:
    """Return what makes a run's folder and ends as it is told to, by dimension."""

    def task(spec: Train, *, on_start: Callable[[RunFolder], object]) -> None:
        dim = spec.towers.dim
        folder = start(spec, root=Path("runs"), name="x", now=NOON + timedelta(seconds=dim))
        on_start(folder)
        value = {"metric": "val/ndcg_at_10", "value": FIGURES[dim], "epoch": 2}
        folder.record(validation=value, bundle=published(dim))
        if error := ends.get(dim):
            raise error
        folder.record(status="done")

    return task


def test_a_run_that_fails_does_not_lose_the_others(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = sweep(asked(), played({16: GateError("below the gate")}))
    said = capsys.readouterr()
    assert code == GateError.code
    assert "error: below the gate" in said.err
    assert said.out.splitlines() == [
        "",
        " sweep: 3 of 3 runs, compared on validation",
        "  run                  dim  val/ndcg_at_10  epoch   ended",
        "  2026-11-22_120008_x    8          0.1000      2    done",
        "  2026-11-22_120016_x   16          0.3000      2  failed",
        "  2026-11-22_120032_x   32          0.2000      2    done",
        "",
        "  best     towers.dim=32   val/ndcg_at_10 0.2000",
        "           runs/2026-11-22_120032_x/report.html",
        "           its test stands there; its bundle is CURRENT",
    ]


def test_a_stop_ends_the_sweep_and_says_how_to_go_on(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.orig_argv", ["python", "train.py", "-m", "towers.dim=8,16,32"])
    monkeypatch.setattr("sys.argv", ["train.py"])
    code = sweep(asked(), played({16: InterruptedRunError("interrupted", signal_code=143)}))
    said = capsys.readouterr().out
    assert code == 143
    assert " sweep: 2 of 3 runs" in said
    assert "stopped\n" in said
    assert "  go on    python train.py -m towers.dim=8,16,32 resume=auto\n" in said
    assert len(list(home.glob("runs/2*"))) == 2


def test_a_sweep_that_goes_on_takes_finished_runs_as_they_are(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep(asked(), played({16: GateError("once")}))
    capsys.readouterr()
    begun: list[int] = []
    again = played({})

    def task(spec: Train, *, on_start: Callable[[RunFolder], object]) -> None:
        begun.append(spec.towers.dim)
        again(spec, on_start=on_start)

    assert sweep(asked(resume="auto"), task) == 0
    assert begun == [16]
    assert capsys.readouterr().out.count("  done\n") == 3


def test_the_best_stays_current_whatever_runs_after_it(home: Path) -> None:
    sweep(asked(), played({}))
    assert (artefact.current(Path("bundles")) / "dim.txt").read_text() == "16"


def test_each_run_remembers_what_the_sweep_changed(home: Path) -> None:
    sweep(asked(), played({}))
    told = [json.loads(file.read_text())["swept"] for file in sorted(home.glob("runs/2*/run.json"))]
    assert told == [{"towers.dim": str(dim)} for dim in DIMS]


def outcome(root: Path, value: float, *, code: int = 0, **changed: str) -> Outcome:
    folder = start(Train(), root=root, name="x", now=NOON)
    folder.record(validation={"metric": "val/ndcg_at_10", "value": value, "epoch": 1})
    return Outcome(Train(), changed, code, folder)


def test_the_best_is_chosen_by_the_mean_over_seeds(tmp_path: Path) -> None:
    runs = [
        outcome(tmp_path, value, dim=dim, seed=seed)
        for dim, seed, value in [
            ("8", "1", 0.9),
            ("8", "2", 0.1),
            ("16", "1", 0.6),
            ("16", "2", 0.7),
        ]
    ]
    assert best_of(runs) == (runs[3], 2)
    assert best_of(runs[:2]) == (runs[0], 2)


def test_a_failed_run_is_never_the_best_and_equal_figures_have_none(tmp_path: Path) -> None:
    failed, good = outcome(tmp_path, 0.9, code=5, dim="8"), outcome(tmp_path, 0.1, dim="16")
    assert best_of([failed, good]) == (good, 1)
    assert best_of([failed]) is None
    assert best_of([good, outcome(tmp_path, 0.1, dim="32")]) is None


def test_other_verbs_go_over_all_their_values_too(capsys: pytest.CaptureFixture[str]) -> None:
    ports: list[int] = []

    def task(spec: Doctor) -> None:
        ports.append(spec.port)
        if spec.port == 2:
            raise GateError("to fix: port")

    doctors: list[Asked[Any]] = [Asked(Doctor(port=port), (f"port={port}",)) for port in (1, 2, 3)]
    assert sweep(doctors, task) == GateError.code
    assert ports == [1, 2, 3]
    assert not capsys.readouterr().out


def test_names_are_short_where_they_stay_apart() -> None:
    assert short(["towers.dim", "seed"]) == ["dim", "seed"]
    assert short(["data.seed", "seed"]) == ["data.seed", "seed"]


WORDS = (*SMALL, "-m", "towers.epochs=3", "towers.patience=0", "towers.dim=8,16", "quiet=true")


def current(folder: Path) -> str:
    return (folder / "bundles" / "CURRENT").read_text().strip()


def facts(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("runs/2*/run.json"))]


@pytest.mark.slow
def test_a_sweep_is_stopped_gone_on_with_and_ends_with_the_best_as_current(tmp_path: Path) -> None:
    process = begin(tmp_path, TRAIN, *WORDS)
    wait_for(lambda: bool(list(tmp_path.glob("runs/2*/checkpoints/*-epoch-0001"))), process)
    process.send_signal(signal.SIGINT)
    stopped = ended(process)
    assert stopped.returncode == 130, stopped.stderr
    assert [run["status"] for run in facts(tmp_path)] == ["interrupted"]
    told = re.search(
        r"^  go on    python train\.py (.*(?:\n {11}.*)*)$", stopped.stdout, re.MULTILINE
    )
    assert told is not None
    words = shlex.split(told[1])
    assert words == [*WORDS, "resume=auto"]

    went_on = train(tmp_path, *words)
    assert went_on.returncode == 0, went_on.stderr
    first, second = facts(tmp_path)
    assert [run["status"] for run in (first, second)] == ["done", "done"]
    best = max((first, second), key=lambda run: run["validation"]["value"])
    assert current(tmp_path) == best["bundle"]
    assert f"  best     towers.dim={best['swept']['towers.dim']}" in went_on.stdout

    again = train(tmp_path, *words)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[1:] == went_on.stdout.splitlines()[3:]
    assert len(facts(tmp_path)) == 2


@pytest.mark.slow
def test_a_value_that_is_wrong_stops_a_sweep_before_its_first_run(tmp_path: Path) -> None:
    said = recsys(tmp_path, "train", "-m", "towers.dim=8,2")
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == "error: towers.dim=2 is less than the least allowed, 4\n"
    assert not (tmp_path / "runs").exists()
