from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F32, I64, Bool
from recsys.evaluate import ranking
from recsys.evaluate.ranking import Order, _at_once, _each_row, _ladder, keys, tie_bits

SPECIAL = np.array(
    [-np.inf, -3e38, -1.5, -1e-45, -0.0, 0.0, 1e-45, 0.5, 1.5, 3e38, np.inf], dtype=np.float32
)


@dataclass(frozen=True)
class Case:
    scores: F32
    pool: Bool
    targets: tuple[I64, I64]
    """In any order."""


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n, s = draw(st.integers(1, 4)), draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    scores = rng.choice(SPECIAL if draw(st.booleans()) else SPECIAL[6:9], (n, s))
    # sparse pools take another path than full ones
    share = draw(st.sampled_from([0.0, 0.05, 0.5, 1.0]))
    pool = rng.random((1 if draw(st.booleans()) else n, s)) < share
    t = draw(st.integers(0, 6))
    return Case(scores, pool, (rng.integers(0, n, t), rng.integers(0, s, t)))


def order_of(case: Case) -> Order:
    n, s = case.scores.shape
    ties = tie_bits(np.arange(n, dtype=np.int32), np.arange(s, dtype=np.int32), 7)
    return Order.of(keys(case.scores, ties), case.targets)


def sorted_by_hand(case: Case, row: int) -> list[int]:
    ties = tie_bits(
        np.array([row], dtype=np.int32), np.arange(case.scores.shape[1], dtype=np.int32), 7
    )[0]
    return sorted(
        range(case.scores.shape[1]), key=lambda c: (case.scores[row, c], ties[c]), reverse=True
    )


@settings(deadline=None)
@given(cases())
def test_the_order_is_by_score_then_by_hash(case: Case) -> None:
    best = order_of(case).best(5)
    for row in range(len(case.scores)):
        assert best[row].tolist() == sorted_by_hand(case, row)[:5]


@settings(deadline=None)
@given(cases())
def test_what_is_ahead_in_a_pool_is_what_a_loop_counts(case: Case) -> None:
    order = order_of(case)
    for pool in (None, case.pool):
        found = order.ahead(pool)
        for t, (row, column) in enumerate(zip(*case.targets, strict=True)):
            ranked, scores = sorted_by_hand(case, row), case.scores[row]
            inside = np.ones_like(scores, bool) if pool is None else pool[row % len(pool)]
            before = ranked[: ranked.index(column)]
            assert found.by_key[t] == sum(inside[c] for c in before)
            assert found.by_score[t] == (inside & (scores > scores[column])).sum()
            assert found.equal[t] == (inside & (scores == scores[column])).sum()


@settings(deadline=None)
@given(cases())
def test_a_pool_and_its_rest_add_up(case: Case) -> None:
    order = order_of(case)
    part, rest = order.ahead(case.pool), order.ahead().less(order.ahead(case.pool))
    other = order.ahead(~case.pool)
    for name in ("by_key", "by_score", "equal"):
        np.testing.assert_array_equal(getattr(rest, name), getattr(other, name))
        np.testing.assert_array_equal(
            getattr(part, name) + getattr(rest, name), getattr(order.ahead(), name)
        )


@settings(deadline=None)
@given(cases())
def test_few_wide_and_many_narrow_rows_are_looked_up_alike(case: Case) -> None:
    order = order_of(case)
    ladder = _ladder(order.keys[case.targets][None], case.targets[0], len(order.keys))
    counted = (order.keys[:, :, None] >= ladder[:, None, :]).sum(axis=2)
    np.testing.assert_array_equal(_each_row(ladder, order.keys), counted)
    np.testing.assert_array_equal(_at_once(ladder, order.keys), counted)


def test_more_rungs_than_a_byte_counts_are_counted() -> None:
    keys_ = np.arange(1, 400, dtype=np.uint64)[None]
    np.testing.assert_array_equal(_each_row(keys_, keys_), keys_.astype(np.int64))


@pytest.mark.parametrize("wide", [1, 1_000])
def test_no_shelf_is_sorted(wide: int, monkeypatch: pytest.MonkeyPatch) -> None:
    widths = []
    real = np.argsort

    def watched(cells: np.ndarray, axis: int = -1) -> np.ndarray:
        widths.append(cells.shape[axis])
        return real(cells, axis=axis)

    monkeypatch.setattr(np, "argsort", watched)
    monkeypatch.setattr(np, "sort", watched)
    monkeypatch.setattr(ranking, "WIDE", wide)
    scores = np.zeros((3, 40), dtype=np.float32)
    order = order_of(Case(scores, scores > 0, (np.array([0]), np.array([0]))))
    order.ahead()
    order.ahead(np.arange(40)[None] % 2 == 0)
    assert order.best(5).shape == (3, 5)
    assert widths == [5]


def test_a_key_depends_on_member_and_sale_never_on_the_row() -> None:
    members, sales = np.array([5, 9], dtype=np.int32), np.array([3, 1, 2], dtype=np.int32)
    swapped = tie_bits(members[::-1], sales[::-1], 0)[::-1, ::-1]
    np.testing.assert_array_equal(tie_bits(members, sales, 0), swapped)
    assert len(np.unique(tie_bits(members, sales, 0))) == 6
    assert (tie_bits(members, sales, 0) != tie_bits(members, sales, 1)).all()


def test_minus_zero_is_zero() -> None:
    ties = np.zeros((1, 2), dtype=np.uint64)
    one, other = keys(np.array([[-0.0, 0.0]], dtype=np.float32), ties)[0]
    assert one == other


def test_scores_that_are_no_numbers_are_refused() -> None:
    scores = np.array([[0, np.nan, np.nan]], dtype=np.float32)
    with pytest.raises(ValueError, match="2 of 3 scores are not numbers"):
        keys(scores, np.zeros((1, 3), dtype=np.uint64))


def test_scores_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\).*\(1, 3\)"):
        keys(np.zeros((1, 2), dtype=np.float32), np.zeros((1, 3), dtype=np.uint64))
