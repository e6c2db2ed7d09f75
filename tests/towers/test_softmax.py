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

from recsys.towers.losses import depth
from recsys.towers.softmax import (
    Block,
    Kernel,
    Positives,
    chunked_softmax,
    naive_softmax,
    nearness,
)


def positives(rows: list[list[int]]) -> Positives:
    ptr = np.cumsum([0, *(len(columns) for columns in rows)])
    row = np.repeat(np.arange(len(rows)), np.diff(ptr))
    column = np.array([c for columns in rows for c in columns], dtype=np.int64)
    return Positives(ptr, torch.from_numpy(row), torch.from_numpy(column))


def random_case(
    seed: int, *, heights: tuple[int, ...] = (5, 3), columns: int = 7, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, list[Block]]:
    rng = np.random.default_rng(seed)
    blocks, row, column = [], 0, 0
    for height in heights:
        own = [
            sorted(rng.choice(columns, rng.integers(1, 4), replace=False)) for _ in range(height)
        ]
        own = [[int(c) for c in cs] for cs in own]
        masked = [sorted({*cs, int(rng.integers(columns))}) for cs in own]
        targets = positives(own)
        cells = len(targets.row)
        offset = torch.from_numpy(rng.normal(size=columns)).to(dtype)
        offset[rng.integers(columns)] = -torch.inf
        blocks.append(
            Block(
                rows=slice(row, row + height),
                columns=slice(column, column + columns),
                offset=offset,
                targets=targets,
                weight=torch.from_numpy(rng.random(cells)).to(dtype),
                shift=torch.from_numpy(rng.normal(size=cells)).to(dtype),
                masked=positives(masked),
            )
        )
        row, column = row + height, column + columns
    u = torch.from_numpy(rng.normal(size=(row, 4))).to(dtype).requires_grad_()
    v = torch.from_numpy(rng.normal(size=(column, 4))).to(dtype).requires_grad_()
    return u, v, torch.tensor(1.7, dtype=dtype, requires_grad=True), blocks


@pytest.mark.parametrize("sharpness", [1.0, 1.3])
def test_gradients_are_those_of_finite_differences(sharpness: float) -> None:
    u, v, scale, blocks = random_case(0, dtype=torch.float64)
    kernel = Kernel(chunk=2, sharpness=sharpness)

    def loss(u: Tensor, v: Tensor, scale: Tensor) -> Tensor:
        return chunked_softmax(u, v, scale, blocks=blocks, kernel=kernel)

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
        loss = function(u, v, scale, blocks=blocks, kernel=kernel)
        results.append((loss, *torch.autograd.grad(loss, (u, v, scale))))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


def by_hand(u: Tensor, v: Tensor, scale: Tensor, blocks: list[Block], kernel: Kernel) -> Tensor:
    """Sum the loss target by target."""
    total = torch.zeros((), dtype=u.dtype)
    for block in blocks:
        pairs = zip(block.targets.row.tolist(), block.targets.column.tolist(), strict=True)
        for cell, (row, column) in enumerate(pairs):
            scores = v[block.columns] @ u[block.rows][row]
            masked = block.masked.column[block.masked.row == row].tolist()
            others = [c for c in range(len(scores)) if c not in masked]
            negatives = (scale * scores + block.offset)[others].logsumexp(dim=0)
            own = scale * scores[column] + block.shift[cell]
            loss = (1 + (kernel.sharpness * negatives - own).exp()).log()
            total = (
                total + block.weight[cell] * nearness_by_hand(scores, column, block, kernel) * loss
            )
    return total


def nearness_by_hand(scores: Tensor, column: int, block: Block, kernel: Kernel) -> float:
    if not kernel.top_k:
        return 1.0
    known = [float(score) for score in scores.detach()]
    stand_for, beta = 0.0, min(known)
    for place in sorted(range(len(known)), key=lambda c: -known[c]):
        stand_for += float(block.offset[place].exp())
        if stand_for >= kernel.top_k:
            beta = known[place]
            break
    return 1 / (1 + math.exp(-(known[column] - beta) / kernel.top_k_tau))


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
    blocks = [replace(b, deep=depth(b.offset.numpy(), kernel.top_k)) for b in blocks]
    losses = (
        function(u, v, scale, blocks=blocks, kernel=kernel),
        by_hand(u, v, scale, blocks, kernel),
    )
    results = [(loss.detach(), *torch.autograd.grad(loss, (u, v, scale))) for loss in losses]
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)


def shelf_of(offset: Tensor) -> Block:
    """Make a block of which the offsets alone matter."""
    none = positives([[]])
    whole, nothing = slice(0, 1), torch.zeros(0)
    return Block(whole, slice(0, len(offset)), offset, none, nothing, nothing, none)


def test_a_target_at_the_kth_place_weighs_half_and_one_above_it_more() -> None:
    scores = torch.tensor([[0.9, 0.5, 0.1, -0.3]])
    at = (torch.zeros(4, dtype=torch.int64), torch.arange(4))
    shelf, kernel = shelf_of(torch.zeros(4)), Kernel(top_k=2, top_k_tau=0.4)
    weight = nearness(scores, shelf, at, kernel=kernel)
    assert weight.tolist() == pytest.approx([1 / (1 + math.exp(-k)) for k in (1, 0, -1, -2)])
    # a drawn column stands for all the sales it was drawn from, one never drawn for none
    drawn = shelf_of(torch.tensor([-torch.inf, 0.0, math.log(5.0), 0.0]))
    weight = nearness(scores, drawn, at, kernel=Kernel(top_k=3, top_k_tau=0.4))
    assert weight[2].item() == pytest.approx(0.5)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), top_k=st.integers(1, 12))
def test_no_row_goes_deeper_for_its_kth_sale_than_said(seed: int, top_k: int) -> None:
    rng = np.random.default_rng(seed)
    offset = rng.choice([-np.inf, -1.5, 0.0, 0.7], 20)
    shelf, kernel = shelf_of(torch.from_numpy(offset)), Kernel(top_k=top_k)
    scores = torch.from_numpy(rng.normal(size=(1, 20)))
    at = (torch.zeros(20, dtype=torch.int64), torch.arange(20))
    deep = depth(offset.astype(np.float32), top_k)
    some = nearness(scores, replace(shelf, deep=deep), at, kernel=kernel)
    torch.testing.assert_close(some, nearness(scores, shelf, at, kernel=kernel))
    assert depth(np.zeros(20, dtype=np.float32), top_k) == top_k
    assert depth(np.zeros(3, dtype=np.float32), top_k) == min(top_k, 3)
    assert depth(offset.astype(np.float32), 0) == 0


def test_bfloat16_operands_stay_within_a_hundredth() -> None:
    u, v, scale, blocks = random_case(3, heights=(64, 64), columns=50, dtype=torch.float32)
    exact = chunked_softmax(u, v, scale, blocks=blocks, kernel=Kernel())
    low = chunked_softmax(u, v, scale, blocks=blocks, kernel=Kernel(low=True))
    assert low.dtype == torch.float32
    assert abs(float((low / exact).detach()) - 1) < 1e-2
    du, dlow = (torch.autograd.grad(loss, u)[0] for loss in (exact, low))
    assert float((du - dlow).norm() / du.norm()) < 2e-2


def test_a_masked_column_gets_no_push() -> None:
    u, v, scale, _ = random_case(1, heights=(1,), dtype=torch.float64)
    only = Block(
        rows=slice(0, 1),
        columns=slice(0, 7),
        offset=torch.zeros(7, dtype=torch.float64),
        targets=positives([[2]]),
        weight=torch.ones(1, dtype=torch.float64),
        shift=torch.zeros(1, dtype=torch.float64),
        masked=positives([[2, 4, 5]]),
    )
    loss = chunked_softmax(u, v, scale, blocks=[only], kernel=Kernel())
    dv = torch.autograd.grad(loss, v)[0]
    assert torch.all(dv[[4, 5]] == 0)
    assert torch.all(dv[[0, 1, 2, 3, 6]].norm(dim=1) > 0)


def test_a_row_whose_every_column_is_its_own_costs_nothing() -> None:
    u, v, scale, _ = random_case(1, heights=(1,), columns=2, dtype=torch.float32)
    block = Block(
        rows=slice(0, 1),
        columns=slice(0, 2),
        offset=torch.zeros(2),
        targets=positives([[0, 1]]),
        weight=torch.tensor([0.5, 0.5]),
        shift=torch.zeros(2),
        masked=positives([[0, 1]]),
    )
    loss = chunked_softmax(u, v, scale, blocks=[block], kernel=Kernel())
    grads = torch.autograd.grad(loss, (u, v, scale))
    assert torch.equal(loss.detach(), torch.zeros(()))
    assert all(torch.all(grad == 0) for grad in grads)


def test_repeats_have_equal_bits() -> None:
    u, v, scale, blocks = random_case(5, heights=(300, 200), columns=60, dtype=torch.float32)
    runs = []
    for _ in range(2):
        loss = chunked_softmax(u, v, scale, blocks=blocks, kernel=Kernel(chunk=64))
        runs.append((loss, *torch.autograd.grad(loss, (u, v, scale))))
    assert all(starmap(torch.equal, zip(*runs, strict=True)))


def test_a_second_derivative_is_refused() -> None:
    u, v, scale, blocks = random_case(0, dtype=torch.float64)
    loss = chunked_softmax(u, v, scale, blocks=blocks, kernel=Kernel())
    with pytest.raises(RuntimeError, match="differentiable once"):
        torch.autograd.grad(loss, u, create_graph=True)


def test_the_logits_of_all_rows_never_exist_at_once() -> None:
    rows, columns = 4096, 2000
    empty = Positives(
        np.zeros(rows + 1, dtype=np.int64),
        torch.zeros(0, dtype=torch.int64),
        torch.zeros(0, dtype=torch.int64),
    )
    block = Block(
        rows=slice(0, rows),
        columns=slice(0, columns),
        offset=torch.zeros(columns),
        targets=empty,
        weight=torch.zeros(0),
        shift=torch.zeros(0),
        masked=empty,
    )
    u, v = torch.randn(rows, 8), torch.randn(columns, 8)
    with torch.profiler.profile(profile_memory=True) as profile:
        chunked_softmax(u, v, torch.tensor(1.0), blocks=[block], kernel=Kernel(chunk=128))
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert largest < 8 * 128 * columns * 4
