from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.towers.features import BagInput, SaleInput, clip_length
from recsys.towers.noise import Noise
from recsys.towers.resident import Bag
from recsys.towers.spec import TwoTower

FIELDS, DIM = 3, 4


def bag(dense: int = 2) -> Bag:
    """Three owners: one with four values, one with none, one with two."""
    ptr = torch.tensor([0, 4, 4, 6])
    return Bag(
        ptr=ptr.numpy(),
        start=ptr,
        row=torch.tensor([0, 1, 2, 3, 1, 4]),
        field=torch.tensor([0, 0, 1, 2, 0, 2]),
        weight=torch.tensor([0.7, 0.7, 1.0, 1.0, 1.0, 1.0]),
        missing=torch.tensor([5, 6, 7]),
        dense=torch.arange(3.0 * dense).reshape(3, dense),
    )


def by_hand(table: torch.Tensor, net: BagInput, rows: list[int], keep: torch.Tensor) -> list[float]:
    own, out = bag(), []
    for place, row in enumerate(rows):
        total = net.dense(own.dense[row]) if net.dense is not None else torch.zeros(DIM)
        for cell in range(int(own.start[row]), int(own.start[row + 1])):
            field = int(own.field[cell])
            if keep[place, field]:
                total = total + table[own.row[cell]] * own.weight[cell] * net.scale[field]
        for field in range(FIELDS):
            if not keep[place, field]:
                total = total + table[own.missing[field]] * net.scale[field]
        out.append(total)
    return torch.stack(out).tolist()


def bag_input() -> tuple[torch.Tensor, BagInput]:
    torch.manual_seed(0)
    net = BagInput(fields=FIELDS, dense=2, spec=TwoTower(dim=DIM))
    torch.nn.init.normal_(net.scale)
    return torch.randn(8, DIM), net


@pytest.mark.parametrize("rows", [[0], [1], [2, 0, 1, 0]])
def test_a_bag_is_the_scaled_sum_of_its_rows_and_numbers(rows: list[int]) -> None:
    table, net = bag_input()
    cells = int((bag().ptr[[r + 1 for r in rows]] - bag().ptr[rows]).sum())
    x = net(table, bag(), torch.tensor(rows), cells=cells, keep=None)
    shown = torch.ones(len(rows), FIELDS, dtype=torch.bool)
    torch.testing.assert_close(x, torch.tensor(by_hand(table, net, rows, shown)))


def test_a_hidden_field_shows_its_missing_row() -> None:
    table, net = bag_input()
    keep = torch.tensor([[True, False, True], [False, True, True], [False, False, False]])
    x = net(table, bag(), torch.tensor([0, 1, 2]), cells=6, keep=keep)
    torch.testing.assert_close(x, torch.tensor(by_hand(table, net, [0, 1, 2], keep)))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_noise_hides_as_often_as_asked(rate: float) -> None:
    kept = Noise.of(1, 2, 3).keep(rate, 4, torch.arange(500)[:, None], torch.arange(400))
    assert kept.float().mean().item() == pytest.approx(1 - rate, abs=0.005)
    assert kept.float().mean(dim=0).sub(1 - rate).abs().max() < 0.12
    assert kept.float().mean(dim=1).sub(1 - rate).abs().max() < 0.12


def test_noise_depends_on_step_salt_and_index_alone() -> None:
    index = torch.arange(1000)
    kept = Noise.of(1, 2, 3).keep(0.5, 4, index)
    shuffled = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Noise.of(1, 2, 3).keep(0.5, 4, index[shuffled]), kept[shuffled])
    for other in (Noise.of(1, 2, 4).keep(0.5, 4, index), Noise.of(1, 2, 3).keep(0.5, 5, index)):
        assert 400 < int((other == kept).sum()) < 600


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), longest=st.floats(0, 3))
def test_clipping_shortens_and_never_turns(seed: int, longest: float) -> None:
    vectors = torch.randn(6, 5, generator=torch.Generator().manual_seed(seed))
    clipped = clip_length(vectors, torch.full((6, 1), longest))
    lengths = vectors.norm(dim=1)
    torch.testing.assert_close(clipped.norm(dim=1), lengths.clamp(max=longest))
    short = lengths <= longest
    assert torch.equal(clipped[short], vectors[short])


def sale_input(spec: TwoTower) -> tuple[torch.Tensor, SaleInput]:
    torch.manual_seed(1)
    net = SaleInput(spec, fields=FIELDS, dense=2, sales=3)
    net.known.fill_(1)
    if net.own is not None:
        torch.nn.init.normal_(net.own, std=10)
    return torch.randn(8, spec.dim), net


def both(spec: TwoTower, noise: Noise | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    table, net = sale_input(spec)
    z, x = net(table, bag(), torch.arange(3), cells=6, noise=noise)
    return z.detach(), x.detach()


def test_a_bounded_own_vector_is_at_most_delta_of_the_content() -> None:
    z, x = both(TwoTower(dim=DIM, delta=0.5))
    torch.testing.assert_close((x - z).norm(dim=1), 0.5 * z.norm(dim=1))
    z, x = both(TwoTower(dim=DIM, id="free"))
    assert torch.all((x - z).norm(dim=1) > z.norm(dim=1))
    z, x = both(TwoTower(dim=DIM, id="off"))
    assert torch.equal(x, z)


def test_the_bound_pulls_at_the_own_vector_alone() -> None:
    table, net = sale_input(TwoTower(dim=DIM, delta=0.5))
    table.requires_grad_()
    z, x = net(table, bag(), torch.arange(3), cells=6, noise=None)
    (gradient,) = torch.autograd.grad((x - z).square().sum(), table, allow_unused=True)
    assert gradient is None or torch.all(gradient == 0)


def test_an_own_vector_starts_at_zero_beside_content_and_as_noise_without() -> None:
    start = SaleInput(TwoTower(dim=DIM), fields=1, dense=0, sales=5).own
    assert start is not None
    assert torch.all(start == 0)
    for spec, fields in ((TwoTower(dim=DIM, id="free"), 1), (TwoTower(dim=DIM), 0)):
        free = SaleInput(spec, fields=fields, dense=0, sales=5).own
        assert free is not None
        assert torch.all(free.norm(dim=1) > 0)


def test_sales_without_any_content_are_told_apart_by_their_own_vectors() -> None:
    net = SaleInput(TwoTower(dim=DIM), fields=0, dense=0, sales=5)
    nothing = torch.zeros(0, dtype=torch.int64)
    bare = Bag(
        start=torch.zeros(6, dtype=torch.int64),
        row=nothing,
        weight=nothing.float(),
        field=nothing,
        missing=nothing,
        dense=torch.zeros(5, 0),
        ptr=np.zeros(6, dtype=np.int64),
    )
    z, x = net(torch.randn(8, DIM), bare, torch.arange(5), cells=0, noise=Noise(1))
    assert torch.all(z == 0)
    assert len(x.unique(dim=0)) == 5


def test_an_own_vector_counts_at_export_only_where_known_but_always_in_training() -> None:
    table, net = sale_input(TwoTower(dim=DIM, field_dropout=0))
    net.known[1] = 0
    z, x = net(table, bag(), torch.arange(3), cells=6, noise=None)
    assert (x != z).any(dim=1).tolist() == [True, False, True]
    z, x = net(table, bag(), torch.arange(3), cells=6, noise=Noise(1))
    assert (x != z).any(dim=1).all()


def test_id_dropout_hides_own_vectors_in_training_alone() -> None:
    spec = TwoTower(dim=DIM, field_dropout=0, id_dropout=0.5)
    hidden = 0
    for step in range(200):
        z, x = both(spec, Noise.of(step))
        hidden += int((x == z).all(dim=1).sum())
    assert hidden / 600 == pytest.approx(0.5, abs=0.07)
    z, x = both(spec)
    assert (x != z).any(dim=1).all()
