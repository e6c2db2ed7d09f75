from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recsys.towers import embed
from recsys.towers.device import resolve
from recsys.towers.fit import fit, prepare
from recsys.towers.mlp import Mlp, lowered, residual_mlp, rounded
from recsys.towers.spec import Cpu
from tests.towers.shops import SMALL, Shop, job

ROWS = (3, 200)


def made(*, low: bool) -> Mlp:
    torch.manual_seed(0)
    mlp = residual_mlp(width=24, dim=16)
    with torch.no_grad():
        for weight in mlp.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    if low:
        lowered(mlp)
    return mlp


def learned(mlp: Mlp, x: Tensor, pull: Tensor) -> list[Tensor]:
    """What comes out, and the gradients of what went in and of the weights."""
    x = x.clone().requires_grad_()
    y = mlp(x)
    (y * pull).sum().backward()
    return [y.detach(), x.grad, *(weight.grad for weight in mlp.parameters())]


def test_in_bfloat16_it_says_the_same_to_three_digits_in_float32() -> None:
    x, pull = torch.randn(*ROWS, 24), torch.randn(*ROWS, 16)
    whole, low = (learned(made(low=low), x, pull) for low in (False, True))
    for one, other in zip(whole, low, strict=True):
        assert one.dtype == other.dtype == torch.float32
        assert one.shape == other.shape
        assert 0 < float((one - other).norm() / one.norm()) < 0.01


def test_rows_that_only_fill_up_change_nothing() -> None:
    mlp = made(low=True)
    x, pull = torch.randn(64, 24), torch.randn(64, 16)
    few, many = (learned(copy.deepcopy(mlp), x[:n], pull[:n]) for n in (63, 64))
    assert torch.equal(few[0], many[0][:63])
    nothing = torch.cat((pull[:63], torch.zeros(1, 16)))
    for one, other in zip(few[2:], learned(mlp, x, nothing)[2:], strict=True):
        assert torch.equal(one, other)


@given(st.integers(0, 1 << 24))
def test_row_numbers_are_rounded_up_to_few(rows: int) -> None:
    step = rounded(rows) - rows
    assert 0 <= step < max(64, rows / 8 + 1)
    assert rounded(rows) % 64 == 0
    assert rounded(rounded(rows)) == rounded(rows)


def test_there_are_eight_numbers_of_rows_to_each_doubling() -> None:
    assert len({rounded(rows) for rows in range(4097, 8193)}) == 8


def test_no_row_at_all_is_no_row() -> None:
    assert made(low=True)(torch.zeros(0, 24)).shape == (0, 16)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_what_is_judged_and_exported_is_never_low(
    shop: Shop, tmp_path: Path, precision: Literal["bf16", "fp32"]
) -> None:
    machine = Cpu(threads=1, precision=precision)
    asked = replace(job(shop, tmp_path, SMALL), trainer=machine)
    training = prepare(asked, resolve(machine))
    lows = {part.low for part in training.net.modules() if isinstance(part, Mlp)}
    assert lows == {precision == "bf16"}
    assert not any(part.low for part in training.averaged.modules() if isinstance(part, Mlp))
    trained = embed.load(fit(asked))
    net = trained.net(trained.used, shop.dataset)
    assert not any(part.low for part in net.modules() if isinstance(part, Mlp))
