from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import starmap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys.towers.column_vectors import ColumnVectors
from recsys.towers.softmax import (
    Block,
    Kernel,
    Targets,
    chunked_softmax,
    naive_softmax,
    threshold,
)


def targets_of(
    rows: list[list[int]], *, first: int = 0, dtype: torch.dtype = torch.float32
) -> Targets:
    """Targets of weight 1 that stand among the block's own columns, which start at `first`."""
    ptr = np.cumsum([0, *(len(columns) for columns in rows)])
    row = np.repeat(np.arange(len(rows)), np.diff(ptr))
    own = torch.tensor([c for columns in rows for c in columns], dtype=torch.int64)
    ones = torch.ones(len(own), dtype=dtype)
    return Targets(ptr, torch.from_numpy(row), own + first, own, ones, torch.zeros_like(ones))


def random_case(
    seed: int, *, heights: tuple[int, ...] = (5, 3), columns: int = 7, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, list[Block]]:
    """Blocks whose last column is nobody's; some targets are columns of no block."""
    rng = np.random.default_rng(seed)
    blocks, row, column = [], 0, 0
    beyond = len(heights) * columns
    for height in heights:
        own = [
            sorted(rng.choice(columns - 1, rng.integers(1, 4), replace=False).tolist())
            for _ in range(height)
        ]
        targets = targets_of(own, first=column, dtype=dtype)
        cells = len(targets.row)
        outside = torch.from_numpy(rng.random(cells) < 0.3)
        offset = torch.from_numpy(rng.normal(size=columns)).to(dtype)
        offset[[rng.integers(columns), -1]] = -torch.inf
        blocks.append(
            Block(
                rows=slice(row, row + height),
                columns=slice(column, column + columns),
                offset=offset,
                targets=replace(
                    targets,
                    column=torch.where(outside, beyond, targets.column),
                    own=torch.where(outside, columns - 1, targets.own),
                    weight=torch.from_numpy(rng.random(cells)).to(dtype),
                    shift=torch.from_numpy(rng.normal(size=cells)).to(dtype),
                ),
                past=torch.from_numpy(rng.integers(0, columns, (height, 2))),
            )
        )
        row, column = row + height, column + columns
    u = torch.from_numpy(rng.normal(size=(row, 4))).to(dtype).requires_grad_()
    v = torch.from_numpy(rng.normal(size=(column + 1, 4))).to(dtype).requires_grad_()
    return u, v, torch.tensor(1.7, dtype=dtype, requires_grad=True), blocks


@pytest.mark.parametrize("sharpness", [1.0, 1.3])
def test_gradients_are_those_of_finite_differences(sharpness: float) -> None:
    u, v, scale, blocks = random_case(0, dtype=torch.float64)
    kernel = Kernel(chunk=2, sharpness=sharpness)

    def loss(u: Tensor, v: Tensor, scale: Tensor) -> Tensor:
        return chunked_softmax(u, ColumnVectors.of(v), scale, blocks=blocks, kernel=kernel)

    assert torch.autograd.gradcheck(loss, (u, v, scale))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    chunk=st.integers(1, 9),
    sharpness=st.sampled_from([1.0, 1.1]),
    top_k=st.sampled_from([0, 3]),
)
def test_chunks_give_what_the_plain_form_gives(
    seed: int, chunk: int, sharpness: float, top_k: int
) -> None:
    u, v, scale, blocks = random_case(seed, dtype=torch.float32)
    results = []
    for function in (chunked_softmax, naive_softmax):
        kernel = Kernel(chunk, sharpness=sharpness, top_k=top_k, top_k_tau=0.5)
        loss = function(u, ColumnVectors.of(v), scale, blocks=blocks, kernel=kernel)
        results.append((loss, *torch.autograd.grad(loss, (u, v, scale))))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


def by_hand(u: Tensor, v: Tensor, scale: Tensor, blocks: list[Block], kernel: Kernel) -> Tensor:
    """Sum the loss target by target."""
    total = torch.zeros((), dtype=u.dtype)
    for block in blocks:
        targets = block.targets
        for cell, row in enumerate(targets.row.tolist()):
            scores = v[block.columns] @ u[block.rows][row]
            masked = set(targets.own[targets.row == row].tolist())
            masked |= set() if block.past is None else set(block.past[row].tolist())
            others = [c for c in range(len(scores)) if c not in masked]
            own = v[targets.column[cell]] @ u[block.rows][row]
            near = nearness_by_hand(scores, float(own.detach()), block, kernel)
            known = (scale * scores + block.offset)[others]
            if torch.isfinite(known).any():
                gap = kernel.sharpness * known.logsumexp(dim=0) - scale * own - targets.shift[cell]
                total = total + targets.weight[cell] * near * (1 + gap.exp()).log()
    return total


def nearness_by_hand(scores: Tensor, own: float, block: Block, kernel: Kernel) -> float:
    if not kernel.top_k:
        return 1.0
    known = [float(score) for score in scores.detach()]
    stand_for, beta = 0.0, min(known)
    for place in sorted(range(len(known)), key=lambda c: -known[c]):
        stand_for += float(block.offset[place].exp())
        if stand_for >= kernel.top_k:
            beta = known[place]
            break
    return 1 / (1 + math.exp(-(own - beta) / kernel.top_k_tau))


@pytest.mark.parametrize("function", [chunked_softmax, naive_softmax])
@pytest.mark.parametrize(
    "kernel",
    [
        Kernel(2),
        Kernel(2, sharpness=1.2),
        Kernel(2, top_k=1, top_k_tau=0.5),
        Kernel(3, sharpness=1.1, top_k=4, top_k_tau=2.0),
        Kernel(4, top_k=1000, top_k_tau=0.1),
    ],
)
def test_loss_and_gradients_are_those_of_the_sum_by_hand(
    function: Callable[..., Tensor], kernel: Kernel
) -> None:
    u, v, scale, blocks = random_case(4, dtype=torch.float64)
    losses = (
        function(u, ColumnVectors.of(v), scale, blocks=blocks, kernel=kernel),
        by_hand(u, v, scale, blocks, kernel),
    )
    results = [(loss.detach(), *torch.autograd.grad(loss, (u, v, scale))) for loss in losses]
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)


def test_a_column_stands_for_the_sales_it_was_drawn_from() -> None:
    scores = torch.tensor([[0.9, 0.5, 0.1, -0.3]])
    assert threshold(scores, torch.zeros(4), 2).item() == pytest.approx(0.5)
    # one drawn from five sales stands for five, one never drawn for none
    drawn = torch.tensor([-torch.inf, 0.0, math.log(5.0), 0.0])
    assert threshold(scores, drawn, 3).item() == pytest.approx(0.1)
    assert threshold(scores, drawn, 100).item() == pytest.approx(-0.3)


def test_bfloat16_operands_stay_within_a_hundredth() -> None:
    u, v, scale, blocks = random_case(3, heights=(64, 64), columns=50, dtype=torch.float32)
    exact = chunked_softmax(u, ColumnVectors.of(v), scale, blocks=blocks, kernel=Kernel())
    low = chunked_softmax(u, ColumnVectors.of(v), scale, blocks=blocks, kernel=Kernel(low=True))
    assert low.dtype == torch.float32
    assert abs(float((low / exact).detach()) - 1) < 1e-2
    du, dlow = (torch.autograd.grad(loss, u)[0] for loss in (exact, low))
    assert float((du - dlow).norm() / du.norm()) < 2e-2


def test_a_masked_column_gets_no_push() -> None:
    u, v, scale, _ = random_case(1, heights=(1,), dtype=torch.float64)
    only = Block(
        rows=slice(0, 1),
        columns=slice(0, 7),
        offset=torch.zeros(7, dtype=torch.float64).index_fill(0, torch.tensor([6]), -torch.inf),
        targets=targets_of([[2]], dtype=torch.float64),
        past=torch.tensor([[4, 5, 6]]),
    )
    loss = chunked_softmax(u, ColumnVectors.of(v), scale, blocks=[only], kernel=Kernel())
    dv = torch.autograd.grad(loss, v)[0]
    assert torch.all(dv[[4, 5, 6]] == 0)
    assert torch.all(dv[[0, 1, 2, 3]].norm(dim=1) > 0)


def test_a_target_outside_the_columns_pulls_and_pushes_nothing_away() -> None:
    u, v, scale, _ = random_case(1, heights=(1,), dtype=torch.float64)
    outside = replace(
        targets_of([[0]], dtype=torch.float64), column=torch.tensor([7]), own=torch.tensor([6])
    )
    offset = torch.tensor([0.0] * 6 + [-torch.inf], dtype=torch.float64)
    only = Block(slice(0, 1), slice(0, 7), offset, outside)
    loss = chunked_softmax(u, ColumnVectors.of(v), scale, blocks=[only], kernel=Kernel())
    logits = (scale * v @ u[0]).detach()
    others = torch.arange(8) != 6
    torch.testing.assert_close(loss.detach(), logits[others].logsumexp(0) - logits[7])
    dv = torch.autograd.grad(loss, v)[0]
    assert torch.all(dv[6] == 0)
    assert torch.all(dv[[0, 1, 2, 3, 4, 5, 7]].norm(dim=1) > 0)


def test_a_row_whose_every_column_is_its_own_costs_nothing() -> None:
    u, v, scale, _ = random_case(1, heights=(1,), columns=3, dtype=torch.float32)
    targets = replace(targets_of([[0, 1]]), weight=torch.tensor([0.5, 0.5]))
    block = Block(slice(0, 1), slice(0, 3), torch.tensor([0.0, 0.0, -torch.inf]), targets)
    loss = chunked_softmax(u, ColumnVectors.of(v), scale, blocks=[block], kernel=Kernel())
    grads = torch.autograd.grad(loss, (u, v, scale))
    assert torch.equal(loss.detach(), torch.zeros(()))
    assert all(torch.all(grad == 0) for grad in grads)


def test_repeats_have_equal_bits() -> None:
    u, v, scale, blocks = random_case(5, heights=(300, 200), columns=60, dtype=torch.float32)
    runs = []
    for _ in range(2):
        loss = chunked_softmax(
            u, ColumnVectors.of(v), scale, blocks=blocks, kernel=Kernel(chunk=64)
        )
        runs.append((loss, *torch.autograd.grad(loss, (u, v, scale))))
    assert all(starmap(torch.equal, zip(*runs, strict=True)))


def test_a_second_derivative_is_refused() -> None:
    u, v, scale, blocks = random_case(0, dtype=torch.float64)
    loss = chunked_softmax(u, ColumnVectors.of(v), scale, blocks=blocks, kernel=Kernel())
    with pytest.raises(RuntimeError, match="differentiable once"):
        torch.autograd.grad(loss, u, create_graph=True)


def test_the_logits_of_all_rows_never_exist_at_once() -> None:
    rows, columns = 4096, 2000
    block = Block(
        rows=slice(0, rows),
        columns=slice(0, columns),
        offset=torch.zeros(columns),
        targets=targets_of([[] for _ in range(rows)]),
    )
    u, v = torch.randn(rows, 8), torch.randn(columns, 8)
    with torch.profiler.profile(profile_memory=True) as profile:
        chunked_softmax(
            u, ColumnVectors.of(v), torch.tensor(1.0), blocks=[block], kernel=Kernel(chunk=128)
        )
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert largest < 8 * 128 * columns * 4
