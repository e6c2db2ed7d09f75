from __future__ import annotations

import numpy as np
import pytest

from recsys.data.requests import blocks
from recsys.domain.dataset import Dataset
from recsys.domain.requests import Requests
from recsys.domain.source import Source
from recsys.domain.split import BLOCKS
from tests.data.shops import random_events, shop

REPEATS = Source(cadence="engagement", outcome_hours=48)
NEW = REPEATS.model_copy(update={"exclude_seen": True})


@pytest.fixture(scope="module")
def endless() -> Dataset:
    return shop(random_events(0), task="endless")


def outcomes(dataset: Dataset, requests: Requests) -> dict[tuple[int, int], dict[int, float]]:
    """Outcomes on sales that are not in the past, by member and instant, weights summing to 1."""
    found = dict[tuple[int, int], dict[int, float]]()
    history = dataset.history
    for row in range(len(requests)):
        member = int(requests.member[row])
        past = history.sale[history.member_ptr[member] : requests.history_end[row]]
        cells = slice(requests.target_ptr[row], requests.target_ptr[row + 1])
        kept = {
            int(sale): float(weight)
            for sale, weight in zip(
                requests.target_sale[cells], requests.target_weight[cells], strict=True
            )
            if sale not in past
        }
        if kept:
            total = sum(kept.values())
            found[member, int(requests.at[row])] = {s: w / total for s, w in kept.items()}
    return found


@pytest.mark.parametrize("block", BLOCKS)
def test_what_a_member_knew_is_no_outcome(endless: Dataset, block: str) -> None:
    before, after = (getattr(blocks(endless, source), block) for source in (REPEATS, NEW))
    wanted = outcomes(endless, before)
    assert len(before.target_sale) > len(after.target_sale) > 0
    found = outcomes(endless, after)
    assert found.keys() == wanted.keys()
    for key, weights in wanted.items():
        assert found[key] == pytest.approx(weights)
    assert len(after) == len(wanted)
    assert after.exclude_seen
    assert not before.exclude_seen


def test_scores_of_what_a_member_knew_are_minus_infinity_and_others_stay(endless: Dataset) -> None:
    test, history = blocks(endless, NEW).test, endless.history
    rows = slice(1, len(test))
    scores = np.random.default_rng(0).random((len(test) - 1, len(test.shelf(0))), dtype=np.float32)
    hidden = test.unseen(scores, rows, history)
    for i, row in enumerate(range(1, len(test))):
        past = history.sale[history.member_ptr[test.member[row]] : test.history_end[row]]
        known = np.isin(test.shelf(0), past)
        assert known.any()
        assert np.isneginf(hidden[i, known]).all()
        np.testing.assert_array_equal(hidden[i, ~known], scores[i, ~known])
    assert blocks(endless, REPEATS).test.unseen(scores, rows, history) is scores


def test_blocks_without_days_are_lent_from_the_one_before(endless: Dataset) -> None:
    whole = blocks(endless, REPEATS)
    for lacking, lender in (
        ({"value_days": 0}, "validation"),
        ({"calibration_days": 0}, "value"),
        ({"value_days": 0, "calibration_days": 0}, "validation"),
    ):
        made = blocks(endless, REPEATS.model_copy(update=lacking))
        assert made.split is not None
        assert len(made.split.blocks) == 5 - len(lacking)
        assert [note for note in made.notes if note.startswith("data.")] == [
            note for note in made.notes if any(f"data.{name}=0" in note for name in lacking)
        ]
        assert len(made.notes) == len(whole.notes) + len(lacking)
        np.testing.assert_array_equal(made.test.at, whole.test.at)
        lent = getattr(made, lender).member
        if "calibration_days" in lacking:
            fits, calibrates = set(made.value.member), set(made.calibration.member)
            assert fits
            assert calibrates
            assert fits & calibrates == set()
            if lender == "validation":
                assert fits | calibrates == set(lent)
        else:
            np.testing.assert_array_equal(made.value.member, lent)


@pytest.mark.parametrize("cadence", ["noon", "member"])
def test_every_cadence_may_lack_the_blocks_of_value(cadence: str) -> None:
    lacking = {"cadence": cadence, "value_days": 0, "calibration_days": 0, "outcome_hours": 48}
    dataset = shop(random_events(0), task="endless" if cadence == "member" else "shelf")
    source = Source.model_validate(
        lacking | ({"test_days": 20, "validation_days": 20} if cadence == "member" else {})
    )
    made = blocks(dataset, source)
    pair = sorted([*made.value.member, *made.calibration.member])
    assert pair == sorted(made.validation.member)
