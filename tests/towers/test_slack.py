"""Memory that training freed does not stay with the process."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from recsys.towers.slack import Slack, held

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells what is held and can be asked to take it back"
)


def gaps(mib: int) -> list[np.ndarray]:
    """Fill the heap with small blocks and free every second one; return those that stay."""
    blocks = [np.ones(8_000) for _ in range(mib * 16)]
    return blocks[::2]


def test_gaps_in_the_heap_are_given_back_once_they_are_large() -> None:
    slack = Slack()
    few = gaps(64)
    before = held()
    slack()
    assert held() > before - (16 << 20), "a little is put up with"
    many = gaps(600)
    before = held()
    slack()
    assert held() < before - (256 << 20)
    assert len(few) + len(many) == (32 + 300) * 16
