"""DropoutNet and Heater speak for sales that nobody met."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import cold
from recsys.data.requests import blocks
from recsys.domain.events import DAY
from recsys.domain.source import Source
from tests.builders import tiny_dataset


@pytest.mark.slow
def test_both_rank_new_sales_above_luck_and_the_teacher_alone_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cold, "K", 2)
    monkeypatch.setattr(cold, "EPOCHS", 6)
    monkeypatch.setattr(cold, "BATCH", 64)
    dataset = tiny_dataset(members=90, days=16, sales_a_day=8, task="endless")
    cut = blocks(dataset, Source(cadence="set", outcome_hours=24, exclude_seen=True))
    until, test = int(cut.validation.group_at[0]), cut.test
    rows = slice(0, len(test))
    new = test.group_at[0] - dataset.opens_at[test.shelf(0)] < DAY
    material = cold.Material.of(dataset, cut.towers, until)
    assert not np.asarray(material.sale[test.shelf(0)[new]]).any()
    for rival in cold.cold_rivals(dataset, cut).values():
        scores = rival.scorer(test, rows)
        assert np.isfinite(scores).all()
        assert (scores[:, new].std(axis=1) > 0).all()
        assert cold.new_recall(test, rival.scorer, dataset.opens_at) > 1.3 * cold.K / new.sum()


def test_a_member_is_seen_as_the_past_stands() -> None:
    dataset = tiny_dataset(members=90, days=16, sales_a_day=8, task="endless")
    cut = blocks(dataset, Source(cadence="set", outcome_hours=24))
    material = cold.Material.of(dataset, cut.towers, int(cut.validation.group_at[0]))
    known = material.members(cut.towers, slice(0, len(cut.towers)))
    at_the_end = material.member[cut.towers.member.astype(np.int64)]
    assert np.allclose(known, at_the_end, atol=1e-4)
