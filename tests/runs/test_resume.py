from __future__ import annotations

import csv
import json
import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.runs.starting import SMALL, TRAIN, begin, ended, only, train, wait_for

pytestmark = pytest.mark.slow

EPOCHS = 20
WORDS = (*SMALL, f"towers.epochs={EPOCHS}", "towers.patience=0", "name=stopped")


@dataclass(frozen=True)
class Story:
    """A run stopped by Ctrl-C, then killed, then finished; beside it one that nothing stopped."""

    folder: Path
    undisturbed: Path
    after_ctrl_c: dict[str, object]
    after_kill: dict[str, object]
    code: int
    farewell: str
    last_words: str
    saved: tuple[int, int]
    """Epochs that were saved when it was stopped, and when it was killed."""


def epochs_saved(folder: Path) -> int:
    names = [
        path.parent.name for path in folder.glob("runs/2*/checkpoints/step-*-epoch-*/manifest.json")
    ]
    return max((int(name.rpartition("-")[2]) for name in names), default=0)


def facts(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((only(folder, "runs/2*") / "run.json").read_text())
    return found


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("stopped")
    process = begin(folder, TRAIN, *WORDS)
    wait_for(lambda: epochs_saved(folder) >= 2, process)
    process.send_signal(signal.SIGINT)
    stopped = ended(process)
    after_ctrl_c, first = facts(folder), epochs_saved(folder)

    process = begin(folder, TRAIN, *WORDS, "resume=auto")
    wait_for(lambda: epochs_saved(folder) >= first + 3, process)
    process.kill()
    ended(process)
    after_kill, second = facts(folder), epochs_saved(folder)

    finished = train(folder, f"resume={only(folder, 'runs/2*').relative_to(folder)}")
    assert finished.returncode == 0, finished.stderr
    undisturbed = tmp_path_factory.mktemp("undisturbed")
    assert train(undisturbed, *WORDS).returncode == 0
    return Story(
        folder=folder,
        undisturbed=undisturbed,
        after_ctrl_c=after_ctrl_c,
        after_kill=after_kill,
        code=stopped.returncode,
        farewell=stopped.stderr,
        last_words=finished.stdout,
        saved=(first, second),
    )


def test_ctrl_c_saves_and_says_how_to_go_on(story: Story) -> None:
    run = only(story.folder, "runs/2*").name
    assert story.code == 130
    assert re.search(
        rf"^  go on: python train\.py resume=runs/{run}$", story.farewell, re.MULTILINE
    )
    assert story.after_ctrl_c["status"] == "interrupted"
    assert story.after_ctrl_c["exit_code"] == 130


def test_a_killed_run_is_left_as_running(story: Story) -> None:
    assert story.after_kill["status"] == "running"
    assert 2 <= story.saved[0] < story.saved[1] < EPOCHS


def test_it_goes_on_in_its_folder_with_the_epochs_that_were_left(story: Story) -> None:
    assert facts(story.folder)["status"] == "done"
    saved = f"goes on after epoch {story.saved[1]}"
    assert f"  resumed  status was running; {saved}\n" in story.last_words
    told = re.findall(r"^ +(\d+)  +\d+\.\d{3} ", story.last_words, re.MULTILINE)
    assert [int(epoch) for epoch in told] == list(range(story.saved[1] + 1, EPOCHS + 1))


def test_it_ends_with_the_weights_of_a_run_that_nothing_stopped(story: Story) -> None:
    ends = []
    for folder in (story.folder, story.undisturbed):
        run, said = only(folder, "runs/2*"), facts(folder)
        ends.append((said["checkpoint"], run / "checkpoints" / str(said["checkpoint"])))
    (name, mine), (other_name, theirs) = ends
    assert name == other_name
    found, wanted = (load_file(end / "tensors.safetensors") for end in (mine, theirs))
    assert found.keys() == wanted.keys()
    assert all((found[key] == wanted[key]).all() for key in wanted)


def test_the_curve_has_each_epoch_once(story: Story) -> None:
    with (only(story.folder, "runs/2*") / "metrics.csv").open() as file:
        epochs = [int(row["epoch"]) for row in csv.DictReader(file)]
    # an epoch may be saved and not yet written down when it is killed
    assert set(range(1, EPOCHS + 1)) - set(epochs) <= {story.saved[0], story.saved[1]}
    assert len(epochs) == len(set(epochs))
    report = json.loads((only(story.folder, "runs/2*") / "report.json").read_text())
    assert [row["epoch"] for row in report["curve"]] == sorted(epochs)


def test_other_settings_do_not_go_on_with_it(story: Story, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(story.folder, copy, symlinks=True)
    run = only(copy, "runs/2*").relative_to(copy)
    said = train(copy, *SMALL, "seed=7", f"resume={run}")
    assert said.returncode == 2
    assert f"error: {run} was made with other settings" in said.stderr
    assert "seed: 1 then, 7 now" in said.stderr
