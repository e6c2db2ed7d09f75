from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.data.popularity import Popularity
from recsys.domain.arrays import F32, I32, I64
from recsys.domain.events import HOUR
from recsys.rerank.desk import Desk
from recsys.serve import desk as desks
from recsys.serve.answers import to_json
from recsys.serve.bundle import Bundle, open_bundle
from recsys.serve.parts import BundleParts
from recsys.serve.recommender import Recommender


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


QUESTIONS: list[dict[str, Any]] = [
    {"at": -instant, "slots": slots, "novelty": novelty, "exclude": exclude}
    for instant in (0, HOUR, 0, 30 * HOUR, 49 * HOUR)
    for slots, novelty, exclude in ((6, None, ()), (3, 0.0, ("s0070", "s0071")), (1, 9.0, ()))
]
"""Instants, shelves and dials, some of them more than once, before the bundle's own instant."""


def asked(recommender: Recommender, question: dict[str, Any], members: Sequence[str]) -> str:
    now = recommender.bundle.parts.decided_at
    return to_json(recommender.recommend(members, **question | {"at": now + question["at"]}))


def test_what_is_kept_of_a_shelf_changes_no_answer(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [*bundle.parts.members.ids[:9].tolist(), "nobody"]
    keeps = Recommender(bundle)
    found = [
        (asked(keeps, question, members[:1]), asked(keeps, question, members))
        for question in QUESTIONS
    ]
    monkeypatch.setattr(Desk, "once", lambda _self, _what, _asked, make: make())
    right = [
        tuple(asked(Recommender(bundle), question, some) for some in (members[:1], members))
        for question in QUESTIONS
    ]
    assert found == right
    assert len({whole for _, whole in right}) == len(QUESTIONS) - 3


def test_sales_are_counted_once_for_all_who_ask_of_one_shelf_at_one_instant(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    recommender, counted = Recommender(bundle), list[int]()
    bundle.parts.desk._kept.clear()  # what other tests asked last
    counts = Popularity.counts

    def noted(self: Popularity, sales: I32, at: I64 | int, window_us: int | None = None) -> F32:
        counted.append(sales.size)
        return counts(self, sales, at, window_us)

    monkeypatch.setattr(Popularity, "counts", noted)
    for question, more in ((QUESTIONS[0], 3), (QUESTIONS[0], 0), (QUESTIONS[3], 3)):
        before = len(counted)
        for member in bundle.parts.members.ids[:5].tolist():
            asked(recommender, question, [member])
        assert len(counted) - before == more


def test_another_desk_keeps_nothing_of_this_one(bundle: Bundle) -> None:
    desk = bundle.parts.desk
    assert desk.once("it", 1, lambda: "mine") == desk.once("it", 1, lambda: "another") == "mine"
    assert replace(desk).once("it", 1, lambda: "its own") == "its own"
    assert desk.once("it", 2, lambda: "of 2") == "of 2"
    assert desk.once("it", 1, lambda: "made anew") == "made anew"
