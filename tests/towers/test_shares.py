"""Log-sums and shares of negatives, beside what autograd makes of the log-sum."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from recsys.towers import shares as shares_module
from recsys.towers.shares import summed


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_shares_are_the_slope_of_the_log_sum(kind: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(1)
    logits = (10 * torch.randn(5, 9, generator=draw, dtype=kind)).requires_grad_()
    offset, push = (torch.randn(n, generator=draw, dtype=kind) for n in (9, 5))
    offset[3] = -torch.inf
    wanted = (logits + offset).logsumexp(dim=1)
    (slope,) = torch.autograd.grad(wanted, logits, push)
    total, shares = summed(logits.detach(), offset, fuse=False)
    torch.testing.assert_close(total, wanted.detach())
    torch.testing.assert_close(shares(push), slope)


def test_low_logits_get_low_shares_of_exact_sums() -> None:
    draw = torch.Generator().manual_seed(2)
    logits = torch.randn(4, 30, generator=draw).bfloat16()
    total, shares = summed(logits, torch.zeros(30), fuse=False)
    torch.testing.assert_close(total, logits.float().logsumexp(dim=1))
    made = shares(torch.ones(4))
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made.float(), logits.float().softmax(dim=1), rtol=0.01, atol=1e-4)


def test_a_row_without_negatives_has_no_sum_and_no_shares() -> None:
    logits = torch.full((2, 3), -torch.inf)
    logits[1, 0] = 2.0
    total, shares = summed(logits, torch.zeros(3), fuse=False)
    assert total.tolist() == [-torch.inf, 2.0]
    assert shares(torch.tensor([0.0, 0.5])).tolist() == [[0, 0, 0], [0.5, 0, 0]]


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_what_a_gpu_compiles_traces_whole_and_says_the_same(
    kind: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced = partial(torch.compile, backend="aot_eager", fullgraph=True)
    monkeypatch.setattr(torch, "compile", traced)
    shares_module._fused.cache_clear()
    draw = torch.Generator().manual_seed(3)
    for rows, columns in ((5, 9), (2, 40)):
        logits = torch.randn(rows, columns, generator=draw).to(kind)
        logits[0] = -torch.inf
        offset, push = torch.randn(columns, generator=draw), torch.rand(rows, generator=draw)
        push[0] = 0
        plain, fused = (summed(logits, offset, fuse=fuse) for fuse in (False, True))
        torch.testing.assert_close(fused[0], plain[0])
        torch.testing.assert_close(fused[1](push), plain[1](push))
    shares_module._fused.cache_clear()
