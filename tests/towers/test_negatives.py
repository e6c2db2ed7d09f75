from __future__ import annotations

import numpy as np
import pytest

from recsys.domain.arrays import F32, I64
from recsys.domain.requests import Requests
from recsys.towers.negatives import (
    TargetShare,
    archive,
    generator,
    in_batch_targets,
    log_q,
    mixture,
    ragged,
)

DRAWS = 4_000


def endless(targets: list[list[int]], weights: list[list[float]], shelf: int = 6) -> Requests:
    """One group of requests over one shelf."""
    ptr = np.cumsum([0, *map(len, targets)])
    n = len(targets)
    return Requests(
        group_at=np.array([100], dtype=np.int64),
        shelf_start=np.zeros(1, dtype=np.int64),
        shelf_end=np.array([shelf], dtype=np.int64),
        shelf_sale=np.arange(shelf, dtype=np.int32),
        shelf_curated=np.zeros(shelf, dtype=np.bool_),
        member=np.arange(n, dtype=np.int32),
        at=np.full(n, 100, dtype=np.int64),
        group=np.zeros(n, dtype=np.int32),
        history_end=np.zeros(n, dtype=np.int64),
        target_ptr=ptr.astype(np.int64),
        target_sale=np.array([s for row in targets for s in row], dtype=np.int32),
        target_kind=np.zeros(int(ptr[-1]), dtype=np.uint8),
        target_weight=np.array([w for row in weights for w in row], dtype=np.float32),
        outcome_us=1,
    )


PLAN = endless([[0], [0, 1], [2], [0]], [[1.0], [0.25, 0.75], [1.0], [1.0]])


def test_q_of_a_planned_set_equals_hand_counts() -> None:
    share = TargetShare.of(PLAN, num_sales=6)
    sales = np.arange(6)
    p = share(0, sales)
    np.testing.assert_allclose(p, [2.25 / 4, 0.75 / 4, 1 / 4, 0, 0, 0], rtol=1e-6)
    q = mixture(p, in_batch=3, uniform=2, eligible=6)
    np.testing.assert_allclose(q, 3 * p + 2 / 6)
    np.testing.assert_allclose(
        log_q(p, in_batch=3, uniform=2, eligible=6), np.log(3 * p + 2 / 6), rtol=1e-6
    )


def test_shares_of_a_group_sum_to_one() -> None:
    assert TargetShare.of(PLAN, num_sales=6)(0, np.arange(6)).sum() == pytest.approx(1)


@pytest.mark.parametrize(("in_batch", "uniform"), [(2, 0), (0, 5), (2, 5)])
def test_a_pool_estimates_the_exact_sum(in_batch: int, uniform: int) -> None:
    share = TargetShare.of(PLAN, num_sales=6)
    scores: F32 = np.array([2.0, -1.0, 0.5, 1.0, -0.3, 0.2], dtype=np.float32)
    p = share(0, np.arange(6))
    reachable = (p > 0) if uniform == 0 else np.ones(6, dtype=np.bool_)
    exact = np.exp(scores)[reachable].sum()
    sums = np.empty(DRAWS)
    for draw in range(DRAWS):
        rng = generator(7, draw)
        # a batch of the group: some of its requests, in random order
        rows: I64 = rng.permutation(4)[:in_batch]
        pool = np.concatenate((in_batch_targets(PLAN, rows, rng=rng), rng.integers(0, 6, uniform)))
        offset = -log_q(share(0, pool), in_batch=in_batch, uniform=uniform, eligible=6)
        sums[draw] = np.exp(scores[pool] + offset).sum()
    error = sums.std() / np.sqrt(DRAWS)
    assert abs(sums.mean() - exact) < 3.3 * error


def test_correcting_uniform_columns_by_the_in_batch_share_would_be_wrong() -> None:
    share = TargetShare.of(PLAN, num_sales=6)
    p = share(0, np.arange(6))
    assert np.all(log_q(p, in_batch=0, uniform=4, eligible=6) == np.float32(np.log(4 / 6)))


def test_the_archive_holds_its_share_under_equal_scores() -> None:
    totals = []
    for draw in range(2000):
        drawn = archive(50, 10, share=0.2, draws=30, rng=generator(3, draw))
        totals.append(np.exp(drawn.offset) * (drawn.sales >= 10).sum())
    share = np.mean(totals) / (np.mean(totals) + 10)
    assert share == pytest.approx(0.2, abs=0.005)


def test_nothing_is_drawn_while_nothing_has_closed() -> None:
    assert len(archive(10, 10, share=0.2, draws=30, rng=generator(1)).sales) == 0
    assert len(archive(50, 10, share=0.0, draws=30, rng=generator(1)).sales) == 0


def test_draws_depend_on_their_keys_alone() -> None:
    first = generator(1, 2, 3).integers(0, 1 << 40, 5)
    generator(9).random(100)
    assert np.array_equal(first, generator(1, 2, 3).integers(0, 1 << 40, 5))
    assert not np.array_equal(first, generator(1, 2, 4).integers(0, 1 << 40, 5))


def test_a_row_draws_its_targets_by_weight() -> None:
    rng = generator(5)
    drawn = in_batch_targets(PLAN, np.ones(4000, dtype=np.int64), rng=rng)
    assert set(drawn.tolist()) == {0, 1}
    assert (drawn == 1).mean() == pytest.approx(0.75, abs=0.03)


def test_ragged_rows_come_in_the_order_asked_for() -> None:
    ptr, cells = ragged(np.array([0, 2, 2, 5]), np.array([2, 1, 0]))
    assert ptr.tolist() == [0, 3, 3, 5]
    assert cells.tolist() == [2, 3, 4, 0, 1]
