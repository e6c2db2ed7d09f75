from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from recsys.domain.arrays import I64
from recsys.domain.requests import Requests
from recsys.towers.negatives import (
    ARCHIVE,
    UNIFORM,
    Board,
    TargetShare,
    archive_offset,
    generator,
    in_batch_targets,
    log_q,
    ragged,
)
from recsys.towers.noise import Noise

DRAWS = 1_000


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


CPU = torch.device("cpu")
BOARD = Board.of(PLAN, CPU)
ALL = torch.arange(6)
TWO = np.array([2, 1])
GROUP = torch.tensor(0)


def times(rows: I64, each: int = 1) -> I64:
    return np.full(len(rows), each)


def share_of(sales: Tensor) -> Tensor:
    return TargetShare.of(PLAN, 6, CPU)(GROUP, sales)


def logs(p: Tensor, *, in_batch: int, uniform: int) -> Tensor:
    return log_q(p, in_batch=torch.tensor(in_batch), uniform=uniform, eligible=torch.tensor(6))


def test_q_of_a_planned_set_equals_hand_counts() -> None:
    p = share_of(ALL)
    np.testing.assert_allclose(p, [2.25 / 4, 0.75 / 4, 1 / 4, 0, 0, 0], rtol=1e-6)
    torch.testing.assert_close(logs(p, in_batch=3, uniform=2), (3 * p + 2 / 6).log())


def test_shares_of_a_group_sum_to_one() -> None:
    assert float(share_of(ALL).sum()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("in_batch", "uniform", "each"), [(2, 0, 1), (0, 5, 1), (2, 5, 1), (2, 5, 3)]
)
def test_a_pool_estimates_the_exact_sum(in_batch: int, uniform: int, each: int) -> None:
    scores = torch.tensor([2.0, -1.0, 0.5, 1.0, -0.3, 0.2])
    p = share_of(ALL)
    reachable = (p > 0) if uniform == 0 else torch.ones(6, dtype=torch.bool)
    exact = float(scores[reachable].exp().sum())
    sums = np.empty(DRAWS)
    places = torch.arange(uniform)
    for draw in range(DRAWS):
        # a batch of the group: some of its requests, in random order
        rows: I64 = generator(7, draw).permutation(4)[:in_batch]
        noise = Noise.of(7, draw)
        drawn = in_batch_targets(BOARD, rows, times=times(rows, each), noise=noise)
        pool = torch.cat((drawn, noise.below(torch.tensor(6), UNIFORM, places)))
        offset = -logs(share_of(pool), in_batch=in_batch * each, uniform=uniform)
        sums[draw] = float((scores[pool] + offset).exp().sum())
    error = sums.std() / np.sqrt(DRAWS)
    assert abs(sums.mean() - exact) < 3.3 * error


def test_correcting_uniform_columns_by_the_in_batch_share_would_be_wrong() -> None:
    p = share_of(ALL)
    assert torch.allclose(logs(p, in_batch=0, uniform=4), torch.tensor(4 / 6).log())


def test_the_archive_holds_its_share_under_equal_scores() -> None:
    draws, offset = archive_offset(np.array([50]), np.array([10]), share=0.2, draws=30)
    assert draws.tolist() == [30]
    drawn = Noise.of(3).below(torch.tensor(50), ARCHIVE, torch.arange(60_000))
    archived = float((drawn >= 10).double().mean()) * 30 * float(np.exp(offset[0]))
    assert archived / (archived + 10) == pytest.approx(0.2, abs=0.005)


def test_nothing_is_drawn_while_nothing_has_closed() -> None:
    launched, shelf = np.array([10, 50, 0]), np.array([10, 10, 0])
    draws, offset = archive_offset(launched, shelf, share=0.2, draws=30)
    assert draws.tolist() == [0, 30, 0]
    assert np.all(np.isfinite(offset))
    assert not archive_offset(launched, shelf, share=0.0, draws=30)[0].any()


def test_draws_depend_on_their_keys_alone() -> None:
    first = generator(1, 2, 3).integers(0, 1 << 40, 5)
    generator(9).random(100)
    assert np.array_equal(first, generator(1, 2, 3).integers(0, 1 << 40, 5))
    assert not np.array_equal(first, generator(1, 2, 4).integers(0, 1 << 40, 5))


def test_a_row_draws_its_targets_by_weight() -> None:
    drawn = torch.cat([
        in_batch_targets(BOARD, TWO, times=times(TWO), noise=Noise.of(5, draw))
        for draw in range(1000)
    ])
    assert torch.all(drawn[::2] == 2)
    assert set(drawn[1::2].tolist()) == {0, 1}
    assert float((drawn[1::2] == 1).double().mean()) == pytest.approx(0.75, abs=0.05)


def test_what_a_request_draws_does_not_depend_on_its_neighbours() -> None:
    many = endless([[0, 1, 2]] * 40, [[0.2, 0.3, 0.5]] * 40)
    board, noise = Board.of(many, CPU), Noise.of(1)
    every, some = np.arange(40), np.array([30, 7])
    whole = in_batch_targets(board, every, times=times(every, 2), noise=noise).view(40, 2)
    found = in_batch_targets(board, some, times=times(some, 2), noise=noise).view(2, 2)
    assert torch.equal(found, whole[[30, 7]])
    assert len(set(whole.flatten().tolist())) == 3


def test_draws_of_a_request_stand_apart_and_each_target_comes_as_often_as_it_weighs() -> None:
    board = Board.of(endless([[0, 1, 2, 3]], [[0.5, 0.25, 0.125, 0.125]]), CPU)
    counts = torch.zeros(4)
    for draw in range(DRAWS):
        one = np.zeros(1, dtype=np.int64)
        drawn = in_batch_targets(board, one, times=times(one, 4), noise=Noise.of(9, draw))
        found = torch.bincount(drawn, minlength=4)
        assert found[:2].tolist() == [2, 1]
        counts += found
    assert (counts / DRAWS).tolist() == pytest.approx([2, 1, 0.5, 0.5], abs=0.07)


def test_few_requests_with_many_targets_lend_several_each() -> None:
    board = Board.of(endless([[0, 1, 2, 3]] * 10, [[0.25] * 4] * 10), CPU)
    assert [board.draws(40, rows) for rows in (1, 10, 15, 40, 50)] == [4, 4, 2, 1, 1]
    assert BOARD.draws(40, 2) == 1


def test_ragged_rows_come_in_the_order_asked_for() -> None:
    ptr, cells = ragged(np.array([0, 2, 2, 5]), np.array([2, 1, 0]))
    assert ptr.tolist() == [0, 3, 3, 5]
    assert cells.tolist() == [2, 3, 4, 0, 1]
