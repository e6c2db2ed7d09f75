"""Packages installed the way pip leaves them: a module on the path and a *.dist-info beside it."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent / "noon_example"
RERANKERS = "recsys.rerankers"


def install(site: Path, name: str, offers: Mapping[str, Mapping[str, str]], code: str) -> None:
    """Write a package of one module, called like the package, and its metadata into a folder."""
    (site / f"{name.replace('-', '_')}.py").write_text(code)
    info = site / f"{name.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    lines = [
        line
        for group, entries in offers.items()
        for line in (f"[{group}]", *(f"{kind} = {value}" for kind, value in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join([*lines, ""]))


def install_example(site: Path) -> None:
    """Install the package that docs/extending.md shows, as its pyproject.toml says."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    code = (EXAMPLE / "noon_example.py").read_text()
    install(site, project["name"], project["entry-points"], code)
    (site / "noon_gru.py").write_text((EXAMPLE / "noon_gru.py").read_text())


def on_path(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Python find what is installed in a folder; what a test imports of it is forgotten."""
    monkeypatch.syspath_prepend(site)
    for path in site.glob("*.py"):
        # undone at the end of the test: the module is then as absent as it was
        monkeypatch.setitem(sys.modules, path.stem, sys)
        monkeypatch.delitem(sys.modules, path.stem)
