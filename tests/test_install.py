"""The way without make: the lines that README shows for pip, and what they leave behind."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(
    line.partition("#")[0].strip().split("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if "==" in line.partition("#")[0]
)
LINES = [
    found[0] or found[1]
    for found in re.findall(r"^(pip install .*)$|`(pip install [^`]*)`", README, re.MULTILINE)
]
WAITING = 240


def test_readme_shows_how_to_install_without_make() -> None:
    assert len(LINES) >= 2
    assert any(".[demo]" in line for line in LINES)


@pytest.mark.parametrize("line", LINES)
def test_a_pip_line_names_files_extras_and_pins_that_are_there(line: str) -> None:
    words = shlex.split(line, comments=True)[2:]
    named = iter(words)
    for word in named:
        if word == "-c":
            assert (ROOT / next(named)).is_file()
        elif word == "-e":
            place, _, extras = next(named).rstrip("]").partition("[")
            assert (ROOT / place / "pyproject.toml").is_file()
            assert set(extras.split(",")) - {""} <= PROJECT["optional-dependencies"].keys()
        else:
            name, pinned, version = word.partition("==")
            assert not word.startswith("-")
            assert not pinned or PINS[name] == version


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin of an environment in which pip has built and installed this project."""
    home = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", home], check=True, timeout=WAITING)
    pip: list[str | Path] = [
        home / "bin" / "python",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
    ]
    made = subprocess.run(
        [*pip, "install", "--quiet", "--retries=0", "--timeout=10", "--no-deps", ROOT],
        capture_output=True,
        text=True,
        timeout=WAITING,
        check=False,
    )
    if made.returncode and r"No matching distribution found for hatchling" in made.stderr:
        pytest.skip("pip can reach no index that has the build backend, hatchling")
    assert made.returncode == 0, made.stderr
    # what it depends on is lent by the environment of the tests; its own copy comes first
    (site,) = home.glob("lib/python*/site-packages")
    (site / "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return home / "bin"


@pytest.mark.slow
def test_what_pip_installs_answers_and_brings_its_configs(installed: Path, tmp_path: Path) -> None:
    def said(*words: str | Path) -> str:
        return subprocess.run(
            words, capture_output=True, text=True, timeout=WAITING, check=True, cwd=tmp_path
        ).stdout

    home = said(installed / "python", "-c", "import recsys; print(recsys.__file__)").strip()
    assert Path(home).is_relative_to(installed.parent)
    assert "complete_journey" in said(installed / "recsys", "train", "--help")
    assert "dim: 8\n" in said(installed / "recsys", "train", "--cfg", "job", "towers.dim=8")
