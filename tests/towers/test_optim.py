from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from recsys.towers.optim import adam, clip, decay_at, factor, follow, set_rates
from recsys.towers.spec import TwoTower
from tests.towers.shops import Shop

SPEC = TwoTower(dim=8, rate=1e-3, table_rate=2e-2)


def test_rates_rise_in_a_line_and_fall_to_a_hundredth() -> None:
    rates = [factor(step, total=1000, warmup=0.05) for step in range(1001)]
    assert rates[0] == pytest.approx(1 / 51)
    assert rates[50] == pytest.approx(1)
    assert max(rates) <= 1
    assert all(a < b for a, b in pairwise(rates[:51]))
    assert all(a > b for a, b in pairwise(rates[50:]))
    assert rates[1000] == pytest.approx(0.01)
    assert factor(5000, total=1000, warmup=0.05) == pytest.approx(0.01)


def test_every_weight_is_in_one_group_and_tables_have_their_own_rate(shop: Shop) -> None:
    net = shop.net(SPEC)
    optimizer = adam(net, SPEC)
    ids = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in net.parameters())
    tables, matrices, others = optimizer.param_groups
    assert {id(p) for p in tables["params"]} == {id(net.table), id(net.sale_input.own)}
    assert id(net.log_tau) in {id(p) for p in others["params"]}
    assert (tables["peak"], matrices["peak"], others["peak"]) == (2e-2, 1e-3, 1e-2)
    assert all(group["weight_decay"] == 0 for group in optimizer.param_groups)


def test_rates_are_a_share_of_each_groups_peak(shop: Shop) -> None:
    optimizer = adam(shop.net(SPEC), SPEC)
    set_rates(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [1e-2, 5e-4, 5e-3]


@pytest.mark.parametrize(
    ("step", "decay", "slow"), [(0, 0.999, 0.1), (10**6, 0.99, 0.99), (5, 0.0, 0.0)]
)
def test_averages_follow_at_a_decay_that_rises(step: int, decay: float, slow: float) -> None:
    old, new = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    expected = slow * old.weight.detach() + (1 - slow) * new.weight.detach()
    follow([old.weight], [new.weight], decay_at(step, decay))
    torch.testing.assert_close(old.weight.detach(), expected)


def test_a_long_gradient_is_shortened_as_a_whole() -> None:
    weights: list[torch.Tensor] = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    for weight, value in zip(weights, (3.0, 4.0), strict=True):
        weight.grad = torch.tensor([value, 0.0])
    assert clip(weights, 1.0).item() == pytest.approx(5)
    assert [w.grad[0].item() for w in weights if w.grad is not None] == pytest.approx([0.6, 0.8])


def test_the_fused_step_is_skipped_where_asked(shop: Shop) -> None:
    net = shop.net(SPEC)
    optimizer = adam(net, SPEC)
    for weight in net.parameters():
        weight.grad = torch.full_like(weight, torch.nan)
    before = net.table.detach().clone()
    optimizer.found_inf = torch.ones(())  # type: ignore[attr-defined]  # read by fused Adam
    optimizer.step()
    assert torch.equal(net.table.detach(), before)
    optimizer.found_inf = torch.zeros(())  # type: ignore[attr-defined]  # the same
    for weight in net.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert torch.isfinite(net.table).all()
    assert not torch.equal(net.table.detach(), before)
