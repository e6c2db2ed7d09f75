from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys.data.popularity import Popularity
from recsys.domain.arrays import I32, I64
from recsys.rerank.desk import Desk
from recsys.serve import desk as desks
from recsys.serve.bundle import Bundle, open_bundle
from recsys.serve.parts import BundleParts


def test_opening_sorts_no_engagements_and_finds_the_same(
    parts: BundleParts, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    sorted_rows: list[int] = []
    counting = Popularity.counting

    def counted(sale: I32, at: I64, num_sales: int) -> Popularity:
        sorted_rows.append(len(sale))
        return counting(sale, at, num_sales)

    monkeypatch.setattr(Popularity, "counting", counted)
    desk = open_bundle(bundle.folder).parts.desk
    assert sum(sorted_rows) == 0
    made = Desk.of(parts.shop, parts.ranker.appetite)
    assert sum(sorted_rows) == 2 * len(parts.shop.history)
    for ours, theirs in (
        (desk.popularity, made.popularity),
        (desk.maker_popularity, made.maker_popularity),
    ):
        assert isinstance(ours, Popularity)
        assert isinstance(theirs, Popularity)
        np.testing.assert_array_equal(ours.times, theirs.times)
        np.testing.assert_array_equal(ours.sale_ptr, theirs.sale_ptr)
    np.testing.assert_array_equal(desk.maker, made.maker)


def test_a_desk_that_stands_at_one_instant_is_not_kept(parts: BundleParts, tmp_path: Path) -> None:
    standing = Desk.standing_at(parts.shop, parts.decided_at)
    with pytest.raises(TypeError, match="one instant cannot be published"):
        desks.write(standing, tmp_path)
