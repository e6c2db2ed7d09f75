"""A cell is measured, and stored whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cells as store_room
from benchmarks.cells import (
    STATUS,
    Meter,
    anonymous_mb,
    config_of,
    kept,
    store,
    stored,
    written,
)
from recsys.domain.report import Estimate
from tests.benchmarks.hand import estimate, made


def test_a_comment_does_not_change_what_a_config_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "experiment").mkdir()
    copy = tmp_path / "experiment" / "beauty.yaml"
    copy.write_text("# another word\n" + config_of("beauty").read_text())
    before = written("beauty")
    monkeypatch.setattr(store_room, "CONFIGS", tmp_path)
    assert written("beauty") == before
    copy.write_text(copy.read_text() + "towers:\n  dim: 32\n")
    assert written("beauty") != before


def test_a_cell_is_read_as_it_was_stored(tmp_path: Path) -> None:
    store(made(1), tmp_path)
    store(made(2), tmp_path)
    assert stored(tmp_path) == [made(1), made(2)]
    (tmp_path / "beauty-2.json").rename(tmp_path / "beauty-7.json")
    with pytest.raises(ValueError, match=r"beauty-7.json holds beauty-2.json"):
        stored(tmp_path)


def test_a_write_that_breaks_leaves_the_old_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(made(1, 0.5), tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    with pytest.raises(OSError, match="No space"):
        store(made(1, 0.9), tmp_path)
    assert stored(tmp_path) == [made(1, 0.5)]


@pytest.mark.skipif(not STATUS.is_file(), reason="this system does not tell a process's memory")
def test_the_meter_sees_memory_that_was_given_back() -> None:
    with Meter(every=0.001) as meter:
        held = np.ones(64 << 17)  # 64 MB
        total = sum(float(held.sum()) for _ in range(20))
        del held
        after = anonymous_mb()
    assert total > 0
    assert after is not None
    assert meter.cost.peak_mb is not None
    # what the process held before is no measure: the collector may give some of that back, too
    assert meter.cost.peak_mb > after + 50
    assert meter.cost.seconds > 0


def test_a_cell_keeps_rankings_and_leaves_the_rest() -> None:
    one = estimate(0.123456789)
    report = {
        "taste": {"all": {"ndcg_at_10": one, "ild_at_10": one, "ndcg_at_10_minus_popular": one}}
    }
    assert kept(report | {"x": {"channel_mail": {"mrr": one}}}) == {
        "taste": {"all/ndcg_at_10": Estimate(value=0.12346, low=0.11346, high=0.13346, n=9)},
        "x": {},
    }
