from __future__ import annotations

from dataclasses import replace
from itertools import starmap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys.towers.softmax import Block, Kernel, Targets, chunked_softmax, naive_softmax


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
        return chunked_softmax(u, v, scale, blocks=blocks, kernel=kernel)

    assert torch.autograd.gradcheck(loss, (u, v, scale))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), chunk=st.integers(1, 9), sharpness=st.sampled_from([1.0, 1.1]))
def test_chunks_give_what_the_plain_form_gives(seed: int, chunk: int, sharpness: float) -> None:
    u, v, scale, blocks = random_case(seed, dtype=torch.float32)
    results = []
    for function in (chunked_softmax, naive_softmax):
        loss = function(u, v, scale, blocks=blocks, kernel=Kernel(chunk, sharpness=sharpness))
        results.append((loss, *torch.autograd.grad(loss, (u, v, scale))))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


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
        offset=torch.zeros(7, dtype=torch.float64).index_fill(0, torch.tensor([6]), -torch.inf),
        targets=targets_of([[2]], dtype=torch.float64),
        past=torch.tensor([[4, 5, 6]]),
    )
    loss = chunked_softmax(u, v, scale, blocks=[only], kernel=Kernel())
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
    loss = chunked_softmax(u, v, scale, blocks=[only], kernel=Kernel())
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
    block = Block(
        rows=slice(0, rows),
        columns=slice(0, columns),
        offset=torch.zeros(columns),
        targets=targets_of([[] for _ in range(rows)]),
    )
    u, v = torch.randn(rows, 8), torch.randn(columns, 8)
    with torch.profiler.profile(profile_memory=True) as profile:
        chunked_softmax(u, v, torch.tensor(1.0), blocks=[block], kernel=Kernel(chunk=128))
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert largest < 8 * 128 * columns * 4
