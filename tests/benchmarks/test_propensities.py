"""The comparison finds true chances true, and planted ones false."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import propensities
from benchmarks.propensities import compared
from recsys.rerank.diversity import Mmr
from recsys.rerank.policy import SlatePolicy

POLICY = SlatePolicy(3, Mmr(), 0.7, 1, explore_share=0.1)


@pytest.mark.parametrize("policy", [POLICY, replace(POLICY, temperature=0.1, dial_share=0.8)])
def test_true_chances_are_found_true(policy: SlatePolicy) -> None:
    found = list(compared(policy, 100_000))
    assert len(found) == 3
    assert max(float(np.abs(off).max()) for off, _ in found) < 4.5
    assert max(gap for _, gap in found) < 1e-5


def test_slates_of_another_policy_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    other = propensities.drawn(SlatePolicy(3, Mmr(), 0.6, 1, explore_share=0.1), 100_000)
    monkeypatch.setattr(propensities, "drawn", lambda *_: other)
    assert max(float(np.abs(off).max()) for off, _ in compared(POLICY, 100_000)) > 10


def test_the_chances_of_a_dial_that_stands_are_not_those_of_one_that_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    still = propensities.drawn(replace(POLICY, temperature=0.1), 100_000)
    monkeypatch.setattr(propensities, "drawn", lambda *_: still)
    moved = replace(POLICY, temperature=0.1, dial_share=0.8)
    assert max(float(np.abs(off).max()) for off, _ in compared(moved, 100_000)) > 10
