"""The comparison finds true chances true, and planted ones false."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import propensities
from benchmarks.propensities import compared
from recsys.rerank.diversity import Mmr
from recsys.rerank.policy import SlatePolicy

POLICY = SlatePolicy(3, Mmr(), 0.7, 1, explore_share=0.1)


def test_true_chances_are_found_true() -> None:
    found = list(compared(POLICY, 100_000))
    assert len(found) == 3
    assert max(float(np.abs(off).max()) for off, _ in found) < 4.5
    assert max(gap for _, gap in found) < 1e-5


def test_slates_of_another_policy_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    other = propensities.drawn(SlatePolicy(3, Mmr(), 0.6, 1, explore_share=0.1), 100_000)
    monkeypatch.setattr(propensities, "drawn", lambda *_: other)
    assert max(float(np.abs(off).max()) for off, _ in compared(POLICY, 100_000)) > 10
