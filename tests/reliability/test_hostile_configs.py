"""Promise 16: nothing that a config or an artefact names is run; every attempt is refused."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import chdir
from itertools import islice
from pathlib import Path

import pytest
from pydantic import ValidationError

from recsys.domain.artefact import current, point, publish
from recsys.domain.errors import ArtefactError, MissingArtefactError, SettingError
from recsys.domain.verify import check_path
from recsys.runs import load
from recsys.runs.cli import VERBS
from recsys.runs.folder import published
from recsys.runs.guard import guarded
from recsys.runs.load import compose
from recsys.runs.own import check_own
from recsys.runs.spec import Serving, Train
from recsys.serve.spec import Serve
from tests.reliability import hostile
from tests.reliability.conftest import Shown
from tests.reliability.figures import drawn, times
from tests.runs.starting import ROOT, begin, ended

LOGGING = """# @package _global_
hydra:
  job_logging:
    version: 1
    handlers: {h: {(): builtins.open, file: canary, mode: w}}
    root: {handlers: [h]}
"""
OWN = {
    "a handler of logs": (
        "experiment=mine",
        "experiment/mine.yaml",
        LOGGING,
    ),
    "a callback": (
        "data=mine",
        "data/mine.yaml",
        "# @package hydra.callbacks.x\n_target_: shutil.copy\nsrc: here\ndst: canary\n",
    ),
    "another folder": (
        "experiment=mine",
        "experiment/mine.yaml",
        "# @package _global_\nhydra:\n  run: {dir: canary}\n  output_subdir: x\n",
    ),
}


@pytest.fixture(name="canary")
def _canary(tmp_path: Path) -> Path:
    """A file that stays as it is, in a folder to which nothing is added."""
    canary = tmp_path / "aviary" / "canary"
    canary.parent.mkdir()
    canary.write_text("sings")
    return canary


def sings(canary: Path) -> bool:
    return [*canary.parent.iterdir()] == [canary] and canary.read_text() == "sings"


@pytest.fixture
def vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read once what may stand on a command line: here nothing adds to it."""
    known = {verb: load.vocabulary(verb, VERBS[verb][0]) for verb in ("train", "serve")}
    monkeypatch.setattr(load, "vocabulary", lambda verb, _spec: known[verb])


def refused(verb: str, spec: type[Train | Serving], word: str) -> int:
    return guarded(lambda: print(compose(verb, spec, [word])))  # ruff: ignore[print]


def test_words_that_would_run_something_are_refused_and_run_nothing(
    tmp_path: Path,
    canary: Path,
    vocabulary: None,
    shown: Shown,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*islice(hostile.filled(hostile.WORDS, drawn("words"), canary=canary), times(16))]
    codes = Counter[int]()
    with chdir(tmp_path):
        for word in words:
            code = refused("train", Train, word)
            said = capsys.readouterr()
            assert code == 2, (word, code, said)
            assert said.err.startswith("error: "), word
            assert sings(canary), word
            codes[code] += 1
    assert len(set(words)) > times(16) * 9 // 10
    assert not (tmp_path / "error.txt").exists()
    shown(codes[2], f"{codes[2]} words: exit code 2, the canary sings")


@pytest.mark.parametrize("script", ["train.py", "serve_index.py"])
def test_the_real_commands_refuse_them(tmp_path: Path, canary: Path, script: str) -> None:
    words = [*islice(hostile.filled(hostile.WORDS, drawn(script), canary=canary), 40)]
    drawn(script).shuffle(words)
    # those of which a command of its own says nothing new are left to the test above
    for word in words[:2]:
        said = ended(begin(tmp_path, str(ROOT / script), word))
        assert said.returncode == 2, (word, said)
        assert sings(canary)


def test_files_that_would_run_something_are_refused(
    tmp_path: Path, canary: Path, shown: Shown
) -> None:
    texts = hostile.filled(hostile.FILES, drawn("files"), canary=canary)
    tried = times(16) // 2
    for number, text in enumerate(islice(texts, tried)):
        file = tmp_path / f"{number}" / "experiment" / "mine.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text)
        with pytest.raises(SettingError, match=r"mine\.yaml: "):
            check_own(file.parents[1])
    assert sings(canary)
    shown(tried, f"{tried} config files refused by name")


@pytest.mark.parametrize("what", OWN)
def test_a_command_refuses_them_before_hydra_reads_them(tmp_path: Path, what: str) -> None:
    word, file, text = OWN[what]
    (tmp_path / "here").write_text("song")
    (tmp_path / "configs" / file).parent.mkdir(parents=True)
    (tmp_path / "configs" / file).write_text(text)
    said = ended(begin(tmp_path, str(ROOT / "train.py"), word, "dry_run=true"))
    assert said.returncode == 2, said
    assert not (tmp_path / "canary").exists()


def test_what_a_run_or_a_bundle_says_is_never_called(tmp_path: Path, canary: Path) -> None:
    rng = drawn("artefacts")
    for number, called in enumerate(hostile.CALLED):
        run = tmp_path / "runs" / f"{number}"
        run.mkdir(parents=True)
        (run / "run.json").write_text('{"bundle": "x", "status": "done"}')
        (run / "config.yaml").write_text(f"a: !!python/object/apply:{called} [{canary}]\n")
    for folder in published(tmp_path / "runs"):
        with pytest.raises(ArtefactError, match="is not the plain YAML"):
            folder.config()
    assert len(published(tmp_path / "runs")) == len(hostile.CALLED)
    for suffix in (".pkl", ".pt", ".pickle", ".joblib", ".py", ".so", ".npz", ""):

        def write(draft: Path, suffix: str = suffix) -> None:
            (draft / f"file{suffix}").write_bytes(rng.randbytes(9))

        with pytest.raises(ValueError, match="file"):
            publish(tmp_path / "kept", "toy", write)
    assert sings(canary)


def paths_out(rng: random.Random) -> str:
    """Draw a name that leads out of a folder, or is none."""
    steps = ("..", "...", ".", "", "~", "%2e%2e", "..%2f", "..\\", "C:", "/", "a", "etc", "\0", "é")
    parts = [rng.choice(steps) for _ in range(rng.randint(1, 5))]
    return rng.choice(("", "/", "//", "./", "../", "file://")) + "/".join(["..", *parts])


def test_paths_never_lead_out_of_their_folder(
    tmp_path: Path, canary: Path, vocabulary: None, shown: Shown
) -> None:
    root = tmp_path / "aviary" / "root"
    rng = drawn("paths")
    names = {paths_out(rng) for _ in range(600)}
    for name in sorted(names)[:500]:
        with pytest.raises(ValueError, match="is no name"):
            check_path(name)
        with pytest.raises(ValueError, match="is no name"):
            publish(root, "toy", lambda _: None, name=name)
        with pytest.raises((ValueError, ArtefactError)):
            point(root, name)
    assert sings(canary)
    root.mkdir()
    for name in sorted(names)[:500]:
        (root / "CURRENT").write_text(name)
        with pytest.raises(MissingArtefactError):
            current(root)
        with pytest.raises(ValidationError):
            Serve(bundle=name)
    for name in [name for name in sorted(names) if "\0" not in name][:20]:
        assert refused("serve", Serving, f'serve.bundle="{name}"') == 2
    shown(500, "500 paths out of the store, its pointer and a setting")
