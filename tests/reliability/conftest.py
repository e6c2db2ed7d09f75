from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reliability import figures

Shown = Callable[[int, str], None]
"""Says how often a promise was tried, and what came of it."""


def pytest_report_header() -> str:
    figure = "release" if figures.RELEASE else "CI"
    part = f", part {figures.SLICE} of {figures.SLICES}" if figures.SLICES > 1 else ""
    return f"promises: {figure} figures{part}, seed {figures.SEED}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.reliability)


@pytest.fixture
def shown(record_property: Callable[[str, object], None]) -> Shown:
    """Put a count and a result into the table of promises."""

    def note(times: int, said: str) -> None:
        record_property("times", times)
        record_property("said", said)

    return note
