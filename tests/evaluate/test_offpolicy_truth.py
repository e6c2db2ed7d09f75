"""Answers about shops whose truth is known, the guide's among them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.known_shop import drawn_shop
from benchmarks.offpolicy import covered
from recsys.evaluate.offpolicy import Dr, Ips, PolicyValue, Snips, estimate
from recsys.evaluate.support import Refused

GUIDE = Path(__file__).parents[2] / "docs" / "off-policy.md"


def answered(found: PolicyValue | Refused) -> PolicyValue:
    assert isinstance(found, PolicyValue), found
    return found


def test_the_truth_lies_inside_intervals_as_often_as_they_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    methods = [kind(weights=each) for each in ("slot", "prefix") for kind in (Ips, Snips, Dr)]
    monkeypatch.setattr("benchmarks.offpolicy.EVERY", methods)
    monkeypatch.setattr("benchmarks.offpolicy.DRAWS", 250)
    # chances and targets are the product's own: SlatePolicy draws the slates and judges them
    shop = drawn_shop(1, temperature=2.0)
    for (weights, kind), hits in covered(shop, range(1_000, 1_040), 3_000).items():
        truth, error = shop.truths[weights], np.std(hits.value) / np.sqrt(len(hits.value))
        assert len(hits.inside) >= 35, (weights, kind)
        # at 95 %, more than 8 of 40 are missed three times in 10,000
        assert hits.inside.count(False) <= 8, (weights, kind)
        assert abs(np.mean(hits.value) - truth) < 4 * error, (weights, kind)
        assert 0.65 < np.mean(hits.width) / 3.92 / np.std(hits.value) < 1.6, (weights, kind)


def test_each_weight_answers_its_own_question() -> None:
    shop = drawn_shop(1, temperature=1.6)
    log = shop.log(0, 40_000)
    slot, prefix = (answered(estimate(log, Dr(weights=each))) for each in ("slot", "prefix"))
    assert abs(3 * shop.truths["slot"] / shop.truths["prefix"] - 1) > 0.02
    assert abs(3 * slot.value - prefix.value - 3 * shop.truths["slot"] + shop.truths["prefix"]) < (
        prefix.high - prefix.low
    )


def test_a_sharper_target_is_refused() -> None:
    shop = drawn_shop(1, temperature=0.1)
    refused = estimate(shop.log(0, 4_000), Snips(weights="prefix"))
    assert isinstance(refused, Refused)
    assert "effective sample size" in refused.why[0]
    assert "up to slot 3" in refused.why[0]


def test_the_guide_runs_and_its_answers_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    for block in blocks[:2]:
        exec(block, names)  # ruff: ignore[exec-builtin] the code stands in our own docs
    plain = answered(names["answer"])
    for block in blocks[2:]:
        exec(block, names)  # ruff: ignore[exec-builtin] the code stands in our own docs
    # every slate of the target by its chance
    asked, clicks = names["asked"], np.array([0.02, 0.03, 0.08, 0.02, 0.01])
    truth = sum(
        asked[i]
        * asked[j]
        / (1 - asked[i])
        * asked[k]
        / (1 - asked[i] - asked[j])
        * (clicks[i] + clicks[j] + clicks[k])
        for i in range(5)
        for j in range(5)
        for k in range(5)
        if len({i, j, k}) == 3
    )
    for found in (plain, answered(names["answer"])):
        assert abs(found.value - truth) < found.high - found.low
    assert answered(names["gain"]).low > 0
    assert isinstance(names["refusal"], Refused)
    assert "effective sample size" not in capsys.readouterr().out
