from __future__ import annotations

import pytest

from recsys.world import FlashSales, Played, play


@pytest.fixture(scope="session")
def demo() -> Played:
    return play(FlashSales())


@pytest.fixture(scope="session")
def small() -> Played:
    return play(FlashSales(size="small"))
