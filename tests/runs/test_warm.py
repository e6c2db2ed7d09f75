"""The daily training: yesterday's towers, one epoch over the new day."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recsys.domain.artefact import read_manifest
from recsys.domain.errors import MissingArtefactError
from recsys.runs.earlier import earlier
from recsys.runs.spec import Train
from tests.runs.conftest import Trained
from tests.runs.starting import only, verb

pytestmark = pytest.mark.slow

WORDS = ("data.size=small", "evaluate.bootstrap_draws=100", "evaluate.baselines=[random,popular]")
TODAY = (*WORDS, "data.days=15", "trainer.threads=1", "name=today")


def test_a_day_later_it_starts_from_what_is_served_and_learns_the_new_day_alone(
    copied: Trained,
) -> None:
    before = copied.run
    said = verb(copied.folder, "train", *TODAY, "warm_start=CURRENT")
    assert said.returncode == 0, said.stderr
    run = only(copied.folder, "runs/*_today")
    facts = json.loads((run / "run.json").read_text())
    assert f"starts from the towers and encoders of runs/{before.name}" in said.stdout
    assert "mean cosine to" in said.stdout
    assert list(facts["epochs"]) == ["1"]
    then = json.loads((before / "run.json").read_text())
    (mine, theirs) = (
        read_manifest(folder / "encoders" / told["encoders"]).files
        for folder, told in ((run, facts), (before, then))
    )
    assert {name: file.sha256 for name, file in mine.items()} == {
        name: file.sha256 for name, file in theirs.items()
    }


@pytest.fixture
def spec(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> Train:
    monkeypatch.chdir(trained.folder)
    return Train(warm_start="CURRENT")


def test_it_is_found_by_run_folder_bundle_and_what_is_served(trained: Trained, spec: Train) -> None:
    by_name = [spec.warm_start, trained.run.name, f"runs/{trained.run.name}", trained.bundle.name]
    found = [earlier(spec.model_copy(update={"warm_start": name})) for name in by_name]
    assert found[0] is not None
    assert all(one == found[0] for one in found)
    assert found[0].checkpoint.is_dir()
    assert earlier(Train()) is None


def test_what_is_not_there_is_missed(trained: Trained, spec: Train, tmp_path: Path) -> None:
    with pytest.raises(MissingArtefactError, match="no run 'nowhere'"):
        earlier(spec.model_copy(update={"warm_start": "nowhere"}))
    apart = spec.model_copy(update={"warm_start": trained.bundle.name, "runs_dir": str(tmp_path)})
    with pytest.raises(MissingArtefactError, match="has the towers of the bundle"):
        earlier(apart)
