from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore

from tests.extending.installed import install_example, on_path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the example package installed, found by Python; the test runs beside it."""
    folder, work = tmp_path / "site", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    monkeypatch.chdir(work)
    install_example(folder)
    on_path(folder, monkeypatch)
    yield folder
    # Hydra keeps the options of packages for the whole process
    ConfigStore.instance().repo.pop("rerank", None)
