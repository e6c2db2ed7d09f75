"""Every loss beside the full softmax in closed form, on worlds small enough to write it down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from recsys.domain.arrays import F64, I64
from recsys.domain.events import Events
from recsys.domain.requests import Requests
from recsys.towers.column_vectors import ColumnVectors
from recsys.towers.losses import Ask, Concrete
from recsys.towers.noise import Noise
from recsys.towers.softmax import Kernel, chunked_softmax
from recsys.towers.spec import Full, LiveShelf, LogQ, Sampled
from tests.towers.test_losses import planner_of, random_shop, window_of

DIM, TAU, GROUP = 3, 0.4, 3
STEPS = 400


def vectors(requests: Requests, opens: I64, seed: int) -> tuple[F64, F64]:
    """Return random u of all requests and v of all sales."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(len(requests), DIM)), rng.normal(size=(len(opens), DIM))


def ours(
    shop: tuple[Requests, I64, Events], loss: Concrete, uv: tuple[F64, F64], *, step: int = 0
) -> tuple[float, F64]:
    """Return the loss of one group's requests and its gradient by the sales' vectors."""
    requests, opens, history = shop
    rows = np.arange(requests.rows(GROUP).start, requests.rows(GROUP).stop)
    window = window_of(requests, history, rows)
    plan = planner_of(requests, loss, opens)([Ask(GROUP, rows, rows)], window, Noise.of(1, 0, step))
    u, sales = torch.from_numpy(uv[0][rows]), torch.from_numpy(uv[1]).requires_grad_()
    blocks = [replace(block, offset=block.offset.double()) for block in plan.blocks]
    scale = torch.tensor(1 / TAU, dtype=torch.float64)
    total: Tensor = chunked_softmax(
        u, ColumnVectors.of(sales[plan.sales]), scale, blocks=blocks, kernel=Kernel(chunk=3)
    )
    (gradient,) = torch.autograd.grad(total, sales)
    return float(total.detach()), gradient.numpy()


def by_hand(
    requests: Requests,
    uv: tuple[F64, F64],
    columns: I64,
    weight: F64,
    *,
    drawn: F64 | None = None,
) -> tuple[float, F64]:
    """Sum -log softmax of each target over `columns` without the row's other targets.

    `weight` F64[S]: for how many sales a column stands. `drawn` F64[S]: how often each sale is, Q;
    a target's logit is then s - log Q (Yi et al. 2019). The gradient is sum_j p_j u - u by hand.
    """
    pull = np.ones_like(weight) if drawn is None else 1 / drawn
    total, gradient = 0.0, np.zeros_like(uv[1])
    for row in range(requests.rows(GROUP).start, requests.rows(GROUP).stop):
        cells = slice(int(requests.target_ptr[row]), int(requests.target_ptr[row + 1]))
        own = requests.target_sale[cells]
        others = columns[~np.isin(columns, own)]
        for target, share in zip(own, requests.target_weight[cells], strict=True):
            among = np.append(others, target)
            size = np.exp(uv[1][among] @ uv[0][row] / TAU) * np.append(weight[others], pull[target])
            chance = size / size.sum()
            total -= share * np.log(chance[-1])
            chance[-1] -= 1
            np.add.at(gradient, among, share / TAU * chance[:, None] * uv[0][row])
    return total, gradient


@pytest.mark.parametrize("loss", [Full(), LiveShelf(archive_draws=0), LiveShelf(archive_share=0.0)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_whole_shelf_gives_the_softmax_over_it(loss: Concrete, seed: int) -> None:
    shop = random_shop(seed)
    requests, opens, _ = shop
    uv, shelf = vectors(requests, opens, seed), requests.shelf(GROUP).astype(np.int64)
    found, wanted = ours(shop, loss, uv), by_hand(requests, uv, shelf, np.ones(len(opens)))
    assert found[0] == pytest.approx(wanted[0], rel=1e-6)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-5, atol=1e-6)
    assert not found[1][np.setdiff1d(np.arange(len(opens)), shelf)].any()


@pytest.mark.parametrize("logq", ["classic", "refined"])
@pytest.mark.parametrize(("in_batch", "uniform"), [(0, 4000), (8, 4000), (4, 2000)])
def test_many_draws_come_to_the_softmax_over_the_shelf(
    logq: LogQ, in_batch: int, uniform: int
) -> None:
    shop = random_shop(3)
    requests, opens, _ = shop
    uv, shelf = vectors(requests, opens, 3), requests.shelf(GROUP).astype(np.int64)
    loss = Sampled(in_batch=in_batch, uniform=uniform, logq=logq)
    share = planner_of(requests, loss, opens).share
    p = share(torch.tensor(GROUP), torch.arange(len(opens))).double().numpy()
    # classic corrects the target's own logit too: a sale drawn often has less to gain
    drawn = in_batch * p + uniform / len(shelf) if logq == "classic" else None
    wanted = by_hand(requests, uv, shelf, np.ones(len(opens)), drawn=drawn)
    found = [ours(shop, loss, uv, step=step) for step in range(20)]
    total = np.mean([one[0] for one in found])
    gradient = np.mean([one[1] for one in found], axis=0)
    assert total == pytest.approx(wanted[0], rel=0.01)
    np.testing.assert_allclose(gradient, wanted[1], atol=0.02 * np.abs(wanted[1]).max())


def test_the_archive_counts_as_its_share_of_the_shelf() -> None:
    shop = random_shop(4)
    requests, opens, history = shop
    # nobody has a past: no sale of the archive is hidden from anybody
    requests = replace(requests, history_end=history.member_ptr[requests.member])
    uv, shelf = vectors(requests, opens, 4), requests.shelf(GROUP).astype(np.int64)
    at = requests.group_at[GROUP]
    closed = np.setdiff1d(np.flatnonzero(opens <= at), shelf)
    weight = np.ones(len(opens))
    # 0.3 of the denominator under equal scores, spread over what has closed
    weight[closed] = 0.3 / 0.7 * len(shelf) / len(closed)
    wanted = by_hand(requests, uv, np.concatenate((shelf, closed)), weight)
    loss = LiveShelf(archive_share=0.3, archive_draws=4000)
    found = [ours((requests, opens, history), loss, uv, step=step) for step in range(20)]
    assert np.mean([one[0] for one in found]) == pytest.approx(wanted[0], rel=0.01)
    gradient = np.mean([one[1] for one in found], axis=0)
    np.testing.assert_allclose(gradient, wanted[1], atol=0.02 * np.abs(wanted[1]).max())
    assert not gradient[opens > at].any()


@pytest.mark.parametrize(("in_batch", "uniform"), [(4, 0), (0, 3), (4, 3)])
def test_a_pool_of_any_sources_counts_each_sale_of_its_reach_once(
    in_batch: int, uniform: int
) -> None:
    """The mean of exp(o_j), draws of a sale together, is 1: Q is that of the mixture."""
    requests, opens, history = random_shop(5, rows=12)
    loss = Sampled(in_batch=in_batch, uniform=uniform)
    planner = planner_of(requests, loss, opens)
    first = requests.rows(GROUP).start
    rng, counts = np.random.default_rng(0), np.zeros((STEPS, len(opens)))
    for step in range(STEPS):
        rows = first + rng.permutation(12)
        window = window_of(requests, history, rows)
        plan = planner([Ask(GROUP, rows, rows)], window, Noise.of(1, 0, step))
        block = plan.blocks[0]
        np.add.at(counts[step], plan.sales[block.columns].numpy(), block.offset.exp().numpy())
    shelf, share = requests.shelf(GROUP), planner.share
    p = share(torch.tensor(GROUP), torch.from_numpy(shelf.astype(np.int64))).numpy()
    reach = shelf if uniform else shelf[p > 0]
    mean, error = counts.mean(axis=0), counts.std(axis=0) / np.sqrt(STEPS)
    assert np.all(np.abs(mean[reach] - 1) < 4.5 * error[reach] + 1e-6)
    assert not mean[np.setdiff1d(np.arange(len(opens)), shelf)].any()
