from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from recsys.domain.errors import MissingArtefactError, SettingError
from recsys.runs.folder import (
    RunFolder,
    command_line,
    comparable,
    find,
    flat,
    published,
    same_settings,
    start,
    unfinished,
)
from recsys.runs.spec import Train
from recsys.runs.train import settled
from recsys.towers.spec import Auto, Cpu, TwoTower

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SPEC = Train(towers=TwoTower(dim=16))


def made(root: Path, *, hours: int = 0, spec: Train = SPEC, status: str = "running") -> RunFolder:
    folder = start(spec, root=root, name="x", now=NOON + timedelta(hours=hours))
    folder.record(status=status)
    return folder


def test_a_new_folder_tells_what_is_known_before_anything_is_done(tmp_path: Path) -> None:
    folder = start(SPEC, root=tmp_path / "runs", name="x", now=NOON)
    assert folder.path.name == "2026-11-22_120000_x"
    facts = folder.facts()
    assert facts["status"] == "running"
    assert facts["started_at"] == "2026-11-22T12:00:00+00:00"
    assert {"command", "recsys", "git", "versions"} <= facts.keys()
    assert Train.model_validate(folder.config()) == SPEC


def test_two_runs_of_one_second_have_two_folders(tmp_path: Path) -> None:
    assert [made(tmp_path).path.name[17:] for _ in range(3)] == ["_x", "_x-2", "_x-3"]


def test_latest_names_the_newest_and_stays_a_relative_link(tmp_path: Path) -> None:
    made(tmp_path)
    newest = made(tmp_path, hours=1)
    assert (tmp_path / "latest").readlink() == Path(newest.path.name)
    assert find("latest", tmp_path).path == newest.path


def test_facts_join_what_was_recorded_before(tmp_path: Path) -> None:
    folder = made(tmp_path)
    folder.record(bundle="abc", seconds=1.5)
    assert (folder.facts()["bundle"], folder.facts()["status"]) == ("abc", "running")
    assert list(folder.path.glob("*.draft")) == []
    assert (folder.path / "run.json").read_text().endswith("}\n")


def test_a_run_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    folder = made(tmp_path)
    assert find(folder.path.name, tmp_path).path == folder.path
    assert find(str(folder.path), Path("elsewhere")).path == folder.path
    with pytest.raises(MissingArtefactError, match="no run 'nope'"):
        find("nope", tmp_path)


def test_the_newest_unfinished_run_of_equal_settings_goes_on(tmp_path: Path) -> None:
    assert unfinished(SPEC, tmp_path) is None
    made(tmp_path, hours=0, status="interrupted")
    wanted = made(tmp_path, hours=1, status="failed")
    made(tmp_path, hours=2, status="done")
    made(tmp_path, hours=3, spec=Train(towers=TwoTower(dim=32)))
    found = unfinished(SPEC, tmp_path)
    assert found is not None
    assert found.path == wanted.path


def test_published_runs_are_those_with_a_bundle_the_newest_first(tmp_path: Path) -> None:
    assert published(tmp_path) == []
    old, new = (made(tmp_path, hours=hours) for hours in (0, 1))
    made(tmp_path, hours=2, status="failed")
    for folder in (old, new):
        folder.record(bundle="x")
    assert [folder.path for folder in published(tmp_path)] == [new.path, old.path]


def test_names_and_loudness_do_not_part_runs_but_seeds_do(tmp_path: Path) -> None:
    folder = made(tmp_path)
    other = SPEC.model_copy(update={"name": "y", "quiet": True, "resume": "auto"})
    same_settings(folder, other)
    assert unfinished(other, tmp_path) is not None
    with pytest.raises(SettingError, match="seed: 1 then, 2 now"):
        same_settings(folder, SPEC.model_copy(update={"seed": 2}))
    assert unfinished(SPEC.model_copy(update={"seed": 2}), tmp_path) is None


def test_nested_data_becomes_dotted_paths() -> None:
    assert flat({"a": {"b": 1, "c": [1]}, "d": None}) == {"a.b": 1, "a.c": [1], "d": None}
    assert comparable({"quiet": True, "seed": 1}) == {"seed": 1}
    told = {"trainer": {"kind": "cpu", "logger": "csv", "tracking": None}, "logger": 1}
    assert comparable(told) == {"trainer": {"kind": "cpu"}, "logger": 1}


def test_a_run_gone_on_with_by_its_name_keeps_its_logger_unless_another_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = made(Path("runs"), spec=SPEC.model_copy(update={"trainer": Cpu(logger="csv")}))
    went_on = settled(Train(resume=before.path.name))
    assert (went_on.towers, went_on.trainer) == (SPEC.towers, Cpu(logger="csv"))
    other = settled(Train(resume=before.path.name, trainer=Auto(logger="tensorboard")))
    assert (other.towers, other.trainer) == (SPEC.towers, Cpu(logger="tensorboard"))
    # a run of before there were loggers
    plain = before.config()
    del plain["trainer"]["logger"], plain["trainer"]["tracking"]
    (before.path / "config.yaml").write_text(yaml.safe_dump(plain))
    assert settled(Train(resume=before.path.name)).trainer == Cpu()
    assert unfinished(went_on, Path("runs")) is not None


@pytest.mark.parametrize(
    ("typed", "argv", "shown"),
    [
        (["python", "train.py", "seed=1"], ["train.py", "++seed=1"], "python train.py seed=1"),
        (
            ["python", "-m", "recsys", "train", "a=[1,2]"],
            ["/x/recsys/__main__.py"],
            "recsys train 'a=[1,2]'",
        ),
        (["python", "/v/bin/recsys", "train"], ["/v/bin/recsys", "b=1"], "recsys train"),
        (["python", "/x/y/train.py"], ["/x/y/train.py"], "python train.py"),
    ],
)
def test_the_command_is_kept_as_it_was_typed(
    typed: list[str], argv: list[str], shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "orig_argv", typed)
    monkeypatch.setattr(sys, "argv", argv)
    assert command_line() == shown


def test_run_json_is_plain_json(tmp_path: Path) -> None:
    folder = made(tmp_path)
    folder.record(at=NOON, path=Path("x"))
    assert json.loads((folder.path / "run.json").read_text())["path"] == "x"


def test_a_run_that_is_being_made_is_not_gone_on_with(tmp_path: Path) -> None:
    first = made(tmp_path)
    assert unfinished(SPEC, tmp_path) == first
    with first.held():
        assert unfinished(SPEC, tmp_path) is None
        with (
            pytest.raises(SettingError, match="is being made by another process"),
            RunFolder(first.path).held(),
        ):
            assert first.busy
    assert unfinished(SPEC, tmp_path) == first
