from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from recsys.rerank.spec import plan_of
from recsys.runs.load import compose
from recsys.runs.spec import Train
from tests.extending.installed import EXAMPLE
from tests.runs.starting import ROOT, environment
from tests.runs.test_help import HEAVY, WATCH

GUIDE = (ROOT / "docs" / "extending.md").read_text()


def shown(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def test_the_guide_shows_the_package_that_is_tested() -> None:
    *code, _ = shown("python")
    files = ("noon_example.py", "noon_gru.py")
    assert code == [(EXAMPLE / file).read_text() for file in files]
    assert shown("toml") == [(EXAMPLE / "pyproject.toml").read_text()]


def test_the_commands_of_the_guide_compose_where_the_package_is_installed(site: Path) -> None:
    (block,) = shown("text")
    typed = [shlex.split(line, comments=True)[2:] for line in block.splitlines()]
    assert all(line.startswith("$ recsys ") for line in block.splitlines())
    first, second, third = [
        compose("train", Train, words)
        for verb, *words in typed
        if verb == "train" and words != ["--help"]
    ]
    assert plan_of(first.rerank).diversity.model_dump() == {"kind": "max_sum", "weight": 0.2}
    assert second.towers.loss.model_dump() == {"kind": "stride", "draws": 64}
    assert third.towers.encoder.model_dump() == {"kind": "recurrent", "newest": 16, "dropout": 0.2}


def python(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Start Python as if it had the package installed."""
    found = environment(Path.cwd())
    return subprocess.run(
        [sys.executable, *words],
        env=found | {"PYTHONPATH": f"{site}:{found['PYTHONPATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_tests_of_the_guide_pass(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, tests = shown("python")
    (site / "test_mine.py").write_text(tests)
    monkeypatch.setitem(sys.modules, "test_mine", sys)  # absent again when this test ends
    monkeypatch.delitem(sys.modules, "test_mine")
    module = vars(import_module("test_mine"))
    ran = 0
    for name in ("max_sum", "stride", "recurrent"):
        test = module[f"test_{name}_keeps_the_laws"]
        (laws,) = [mark.args[1] for mark in test.pytestmark]
        for law in laws:
            test(law)
            ran += 1
    assert ran == 19


def test_help_with_a_package_installed_loads_nothing_heavy_and_nothing_of_it(site: Path) -> None:
    ran = python(site, "-c", WATCH, str(ROOT / "train.py"), "--help")
    said, _, loaded = ran.stderr.rpartition("loaded ")
    assert (ran.returncode, said) == (0, "")
    assert "rerank.diversity.kind=max_sum   noon-example 0.1.0" in ran.stdout
    assert (HEAVY | {"noon_example", "noon_gru"}) & set(loaded.split()) == set()
