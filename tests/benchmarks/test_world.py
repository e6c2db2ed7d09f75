"""A dataset of everybody whose events stay on disk."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from polars.testing import assert_frame_equal

from benchmarks.held import family_mb
from benchmarks.world import dataset_of, large
from recsys.data.contract import check
from recsys.domain.events import Channel
from recsys.world import FlashSales, play, stream

SPEC = FlashSales(members=700, days=9)


def test_a_dataset_of_mapped_events_is_that_of_the_tables(tmp_path: Path) -> None:
    ours = dataset_of(stream(SPEC, tmp_path, block=111))
    theirs = check(play(SPEC).tables(), SPEC).dataset
    assert_frame_equal(ours.members, theirs.members.head(SPEC.num_members))
    assert_frame_equal(ours.sales, theirs.sales)
    assert_frame_equal(ours.curation, theirs.curation)
    assert_frame_equal(ours.stock, theirs.stock)
    assert ours.watermark == theirs.watermark
    at = theirs.watermark - 3_600_000_000
    np.testing.assert_array_equal(ours.shelf(at).sales, theirs.shelf(at).sales)
    # in the shop the dataset of the tables goes by ids, some of which are another's
    one, other = (
        of.shop.history.where(of.shop.history.channel != Channel.SHOP) for of in (ours, theirs)
    )
    np.testing.assert_array_equal(one.sale, other.sale)
    np.testing.assert_array_equal(one.at, other.at)
    np.testing.assert_array_equal(one.member_ptr, other.member_ptr[: SPEC.num_members + 1])


def test_a_large_world_tells_how_it_gets_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # whatever else ran in this process before is counted as well
    before = family_mb(os.getpid())
    rows = {name: measured for name, _, measured, _ in large(SPEC, tmp_path, workers=1)}
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in said] == [
        ["day", str(day), "of", "9"] for day in range(1, 10)
    ]
    assert rows["events"] == len(play(SPEC).log)
    assert 10 < rows["memory of all processes"] < before + 500
