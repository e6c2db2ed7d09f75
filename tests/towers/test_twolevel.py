"""Groups with the largest maxima hold the largest scores, and of the others a bound is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import F32
from recsys.towers.twolevel import Deal, Kept, TwoLevel, Way, Work, cut, ranked, read

WAYS: tuple[Way, Way] = ("host", "device")


def kept(scores: F32, many: int, *, shift: int, kind: torch.dtype, way: Way) -> Kept:
    """Look at scores [t, n] in tiles of three rows."""
    deal = Deal(scores.shape[1], shift)
    rows = deal.deal(torch.from_numpy(scores.T.copy())).T.to(kind).contiguous()
    deal.close(rows)
    level = TwoLevel(deal, many, Work(len(rows), 3, kind=kind, way=way, device=rows.device))
    for first in range(0, len(rows), 3):
        level.look(rows[first : first + 3], first)
    return level.kept(len(rows))


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 90),
    many=st.integers(1, 12),
    shift=st.integers(0, 4),
    middle=st.sampled_from([-9.0, 0.0, 9.0]),
    kind=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_what_is_left_out_is_below_what_is_kept_and_below_the_bound(
    way: Way, seed: int, n: int, many: int, shift: int, middle: float, kind: torch.dtype
) -> None:
    rng = np.random.default_rng(seed)
    # bfloat16 holds them, and keys of float32 too: all leading bits
    scores = (rng.integers(-8, 8, size=(5, n)) + middle).astype(np.float32)
    scores[rng.random((5, n)) < 0.2] = -np.inf
    found = kept(scores, many, shift=shift, kind=kind, way=way)
    order = np.lexsort((np.broadcast_to(np.arange(n), (5, n)), -scores), axis=1)
    for row in range(5):
        there = np.isfinite(found.scores[row].numpy())
        ranks = found.ranks[row].numpy()[there]
        assert np.array_equal(scores[row, ranks], found.scores[row].numpy()[there])
        best = order[row, :many]
        best = best[np.isfinite(scores[row, best])]
        # on the host, columns of groups chosen for want of others may be passed over
        assert set(best) == set(ranks) or (way == "host" and set(ranks) <= set(best))
        rest = np.setdiff1d(np.arange(n), ranks)
        above = scores[row, rest].max(initial=-np.inf)
        assert found.left[row] >= above
        assert found.left[row] <= above + 0.5 or (way == "host" and found.left[row] <= 0.5)


@pytest.mark.parametrize("way", WAYS)
def test_equal_scores_go_by_rank_and_noughts_are_equal(way: Way) -> None:
    scores = torch.tensor([[1.0, -0.0, 0.0, -2.0, 1.0, -torch.inf]])
    ranks = torch.tensor([[7, 3, 4, 0, 5, 1]])
    values, order = read(ranked(scores, ranks, k=6, way=way))
    assert order.tolist() == [[5, 7, 3, 4, 0, 1]]
    assert values.tolist() == [[1.0, 1.0, 0.0, 0.0, -2.0, -torch.inf]]
    assert read(ranked(scores, ranks, k=1, way=way))[1].tolist() == [[5]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("k", [1, 5, 11, 12, 20])
def test_a_cut_gives_the_largest_and_the_next(way: Way, k: int) -> None:
    rng = np.random.default_rng(k)
    keys = torch.from_numpy(rng.permuted(np.tile(np.arange(12, dtype=np.int32), (4, 1)), axis=1))
    top, next_one = cut(keys.clone(), k, way)
    assert top.sort(dim=1).values.tolist() == [list(range(12))[-k:]] * 4
    assert next_one.tolist() == [11 - k if k < 12 else -0x7F800001] * 4


@pytest.mark.parametrize(("columns", "shift"), [(1, 0), (12, 2), (13, 2), (50, 3), (3, 4)])
def test_a_group_is_a_run_of_neighbours_that_stand_apart(columns: int, shift: int) -> None:
    deal = Deal(columns, shift)
    place = deal.place(torch.arange(columns))
    assert len(set(place.tolist())) == columns
    assert (place % deal.groups).tolist() == [rank // deal.width for rank in range(columns)]
    assert deal.places - columns < deal.width
