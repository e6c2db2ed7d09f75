from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.runs.starting import only, train


@dataclass(frozen=True)
class Trained:
    """A folder in which `python train.py debug=fdr` has run, and what that said."""

    folder: Path
    said: subprocess.CompletedProcess[str]

    @property
    def run(self) -> Path:
        return only(self.folder, "runs/*")

    @property
    def bundle(self) -> Path:
        return self.folder / "bundles" / (self.folder / "bundles" / "CURRENT").read_text().strip()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Made once, read by all: who changes something works on a `copied`."""
    folder = tmp_path_factory.mktemp("trained")
    return Trained(folder, train(folder, "debug=fdr"))


@pytest.fixture
def copied(trained: Trained, tmp_path: Path) -> Trained:
    """A copy that a test may damage."""
    folder = tmp_path / "copy"
    shutil.copytree(trained.folder, folder, symlinks=True)
    return Trained(folder, trained.said)
