"""Gathers and bags: the numbers are torch's, so are their gradients."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn.functional import embedding, embedding_bag

from recsys.towers.gathered import Bags, bagged, gathered

ROWS, BAGS = 7, 5


def drawn(counts: list[int], *, kind: torch.dtype = torch.int32) -> tuple[Bags, Tensor]:
    """Draw the rows of bags that hold so many, and their weights."""
    draw = torch.Generator().manual_seed(0)
    each, cells = torch.tensor(counts), sum(counts)
    bags = Bags(
        row=torch.randint(ROWS, (cells,), generator=draw).to(kind),
        start=(each.cumsum(0) - each).to(kind),
        owner=torch.arange(len(counts)).repeat_interleave(each),
    )
    return bags, torch.randn(cells, generator=draw, dtype=torch.float64)


def by_torch(bags: Bags, table: Tensor, weight: Tensor) -> Tensor:
    """Return the same from torch's own bags."""
    return embedding_bag(bags.row, table, bags.start, mode="sum", per_sample_weights=weight)


@pytest.mark.parametrize("kind", [torch.int32, torch.int64])
@pytest.mark.parametrize("counts", [[3, 0, 4, 1, 6], [0, 0, 2, 0, 0], [0] * BAGS])
def test_bags_and_their_gradients_are_those_of_torch(kind: torch.dtype, counts: list[int]) -> None:
    bags, weights = drawn(counts, kind=kind)
    found = []
    for way in (bagged, by_torch):
        table = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(1)).double()
        table.requires_grad_()
        weight = weights.clone().requires_grad_()
        total = way(bags, table, weight)
        (total * torch.arange(BAGS * 3).view(BAGS, 3)).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        found.append((total.detach(), table.grad, weight.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_gradient_of_bags_is_the_slope() -> None:
    bags, weight = drawn([2, 0, 3, 1, 4])
    table = torch.randn(ROWS, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(partial(bagged, bags), (table, weight.requires_grad_()))


def test_a_bag_of_fixed_rows_has_the_gradient_of_its_weights_alone() -> None:
    bags, weight = drawn([2, 1, 3, 1, 4])
    table = torch.randn(ROWS, 2).double()
    bagged(bags, table, weight.requires_grad_()).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    torch.testing.assert_close(weight.grad, table.sum(dim=1)[bags.row.long()])


@pytest.fixture
def threads() -> Generator[None]:
    """Put the number of threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_bits_are_the_same_with_any_number_of_threads() -> None:
    bags, weight = drawn([400, 0, 3_000, 1, 600])
    draw, bits = torch.Generator().manual_seed(5), []
    start, back = (torch.randn(n, 64, generator=draw) for n in (ROWS, BAGS))
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        table = start.clone().requires_grad_()
        (bagged(bags, table, weight.float()) * back).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        assert table.grad is not None
        bits.append(table.grad.numpy().tobytes())
    assert len(set(bits)) == 1


def test_a_second_derivative_of_bags_is_refused() -> None:
    bags, weight = drawn([2, 0, 3, 1, 4])
    table = torch.randn(ROWS, 2, dtype=torch.float64, requires_grad=True)
    total = bagged(bags, table, weight.requires_grad_()).square().sum()
    (first,) = torch.autograd.grad(total, weight, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped


def test_without_gradients_bags_are_sums_alone() -> None:
    bags, weight = drawn([2, 0, 3, 1, 4])
    table = torch.randn(ROWS, 2, dtype=torch.float64, requires_grad=True)
    with torch.inference_mode():
        total = bagged(bags, table, weight)
    torch.testing.assert_close(total, by_torch(bags, table.detach(), weight))


@pytest.mark.parametrize("kind", [torch.int32, torch.int64])
@pytest.mark.parametrize("shape", [(6,), (2, 3), (0,), (2, 0)])
def test_rows_and_their_gradient_are_those_of_torch(
    shape: tuple[int, ...], kind: torch.dtype
) -> None:
    index = torch.randint(ROWS, shape, generator=torch.Generator().manual_seed(2)).to(kind)
    found = []
    for rows in (gathered, embedding):
        table = torch.arange(ROWS * 2.0).view(ROWS, 2).requires_grad_()
        made = rows(index, table)
        (made * made).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        found.append((made.detach(), table.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)
