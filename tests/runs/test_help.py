from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from recsys.runs.cli import VERBS
from recsys.runs.help import help_text
from recsys.runs.load import vocabulary
from recsys.runs.spec import Train
from tests.runs.starting import ROOT, TRAIN, environment

HEAVY = {"torch", "pytorch_lightning", "faiss", "scipy", "fastapi", "jinja2"}
WATCH = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    sys.stderr.write("loaded " + " ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def started(folder: Path, *words: str) -> tuple[int, str, set[str]]:
    """Run a script; return its exit code, what it printed, and the packages it had loaded."""
    ran = subprocess.run(
        [sys.executable, "-c", WATCH, *words],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    said, _, loaded = ran.stderr.rpartition("loaded ")
    return ran.returncode, ran.stdout + said, set(loaded.split())


@pytest.mark.parametrize("script", ["train.py", "serve_index.py"])
def test_help_answers_at_once_and_loads_nothing_heavy(tmp_path: Path, script: str) -> None:
    since = time.perf_counter()
    code, said, loaded = started(tmp_path, str(ROOT / script), "--help")
    assert time.perf_counter() - since < 10  # under 1 s on an idle machine
    assert code == 0
    assert said.startswith("recsys ")
    assert "pydantic" in loaded
    assert HEAVY & loaded == set()
    assert list(tmp_path.iterdir()) == [tmp_path / "offline"]


def test_a_typo_is_refused_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    code, said, loaded = started(tmp_path, TRAIN, "lr=0.1")
    assert code == 2
    assert "did you mean:  towers.rate=0.1" in said
    assert HEAVY & loaded == set()


def test_a_value_out_of_bounds_is_refused_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    code, said, loaded = started(tmp_path, TRAIN, "towers.dim=1")
    assert (code, said) == (2, "error: towers.dim=1 is less than the least allowed, 4\n")
    assert HEAVY & loaded == set()


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_help_names_every_setting_within_eighty_columns(verb: str) -> None:
    known = vocabulary(verb, VERBS[verb][0])
    lines = help_text(known, ["--help"]).splitlines()
    assert all(len(line) <= 80 for line in lines)
    chosen = {
        group: known.groups[group][option or ""]
        for group, option in known.choices.items()
        if option
    }
    kinds = {group: kind for group, kind in chosen.items() if kind}
    shown = {line.strip().partition("=")[0] for line in lines}
    assert set(known.keys(kinds)) - shown == set()


def test_help_speaks_of_the_options_chosen_on_the_line() -> None:
    known = vocabulary("train", Train)
    assert "data.logging_policy=" in help_text(known, ["--help"])
    other = help_text(known, ["data=globo", "--help"])
    assert "data.logging_policy=" not in other
    assert "data.shelf_hours=" in other


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_plan_is_promised_where_a_verb_can_show_one(verb: str) -> None:
    spec = VERBS[verb][0]
    first = help_text(vocabulary(verb, spec), ["--help"]).splitlines()[0]
    assert ("dry_run=true" in first) is ("dry_run" in spec.model_fields)
