from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, softplus

from recsys.towers.batches import past_of
from recsys.towers.features import START
from recsys.towers.member import NUMBERS, History, past_numbers
from recsys.towers.noise import Noise
from recsys.towers.resident import Window
from recsys.towers.spec import Encoder, TwoTower
from recsys.towers.two_tower import ask
from tests.towers.shops import ENCODERS, Shop, named, shaken


def window(days: list[list[float]], what: list[list[int]], valid: list[list[bool]]) -> Window:
    return Window(
        sale=torch.zeros(len(days), len(days[0]), dtype=torch.int64),
        what=torch.tensor(what),
        days=torch.tensor(days),
        valid=torch.tensor(valid),
        so_far=torch.tensor(valid).sum(dim=1).float(),
    )


def mixed(history: History, x: Tensor, shown: Window, keep: Tensor) -> Tensor:
    """Return h [B, D] of one request for each window."""
    h: Tensor = history(x, shown.what, days=shown.days[:, None], keep=keep[:, None])
    return h[:, 0]


def test_history_is_the_mean_of_means_that_forget_at_their_own_pace() -> None:
    torch.manual_seed(0)
    history = History(TwoTower(dim=6))
    for weight in (history.kind_weight, history.channel_weight, history.exponent):
        torch.nn.init.normal_(weight)
    x = torch.randn(1, 3, 6)
    days, what = [0.5, 4.0, 90.0], [7, 16, 20]
    shown = window([days], [what], [[True, True, True]])
    heads = []
    for head, half in enumerate((1.0, 7.0, 30.0, None)):
        weights = []
        for place in range(3):
            kind, channel = divmod(what[place], 5)
            raw = history.kind_weight[kind, head] + history.channel_weight[channel, head]
            fade = softplus(history.exponent[kind, head])
            aged = torch.tensor(1 + days[place] / half) if half else torch.tensor(1.0)
            weights.append(raw.exp() * aged.pow(-fade))
        total = torch.stack(weights)
        heads.append((total[:, None] * x[0]).sum(dim=0) / total.sum())
    expected = torch.stack(heads).mean(dim=0)
    keep = torch.ones(1, 3, dtype=torch.bool)
    torch.testing.assert_close(mixed(history, x, shown, keep)[0], expected, rtol=1e-4, atol=1e-5)


def test_an_event_counts_half_after_the_days_of_its_head() -> None:
    history = History(TwoTower(dim=4, decay_days=(7.0,)))
    x = torch.tensor([[[1.0, 0, 0, 0], [0, 1.0, 0, 0]]])
    keep = torch.ones(1, 2, dtype=torch.bool)
    h = mixed(history, x, window([[0.0, 7.0]], [[0, 0]], [[True, True]]), keep)[0].detach()
    # two heads: one forgets (2 : 1), one does not (1 : 1)
    assert h[:2].tolist() == pytest.approx([(2 / 3 + 1 / 2) / 2, (1 / 3 + 1 / 2) / 2], abs=1e-5)


def test_numbers_of_a_past_are_those_of_its_valid_events() -> None:
    log_price = torch.tensor([1.0, 2.0, 4.0, torch.nan])
    past = replace(
        window(
            [[3.0, 9.0, 0.0], [0.0, 0.0, 0.0]],
            [[0, 5, 5], [0] * 3],
            [[True, True, False], [False] * 3],
        ),
        sale=torch.tensor([[1, 2, 0], [0, 0, 0]]),
    )
    numbers = past_numbers(past, log_price)
    assert numbers.shape == (2, NUMBERS)
    assert numbers[0, :3].tolist() == pytest.approx([3.0, 1.0, np.log1p(3.0)])
    assert numbers[0, 4:6].tolist() == pytest.approx([np.log1p(1), np.log1p(1)])
    assert numbers[1, :3].isnan().all()
    assert torch.all(numbers[1, 3:] == 0)


@pytest.mark.parametrize("encoder", ENCODERS, ids=named)
def test_a_hidden_past_looks_like_no_past(shop: Shop, encoder: Encoder) -> None:
    hides = TwoTower(
        dim=16, history_dropout=0.999999, event_dropout=0, field_dropout=0, encoder=encoder
    )
    net = shaken(shop.net(hides))
    requests = shop.blocks.towers
    rows = np.arange(len(requests) - 20, len(requests))
    past = past_of(requests, rows)
    none = replace(past, end=shop.resident.member_ptr[past.member])
    made = []
    for some, noise in ((past, Noise(1)), (none, None)):
        asked = ask(shop.resident, some, length=8, request=rows)
        x = torch.randn(*asked.window.sale.shape, 16, generator=torch.Generator().manual_seed(0))
        made.append(net.member_vectors(shop.resident, asked, x, noise=noise).detach())
    torch.testing.assert_close(*made)


@pytest.mark.parametrize("encoder", ENCODERS, ids=named)
def test_before_training_a_member_is_the_mean_of_the_past(shop: Shop, encoder: Encoder) -> None:
    spec = TwoTower(dim=64, encoder=encoder)
    net, requests = shop.net(spec), shop.blocks.towers
    rows = np.flatnonzero(requests.history_end > shop.resident.member_ptr[requests.member])
    asked = ask(shop.resident, past_of(requests, rows), length=8, request=rows)
    everything = np.arange(shop.resident.num_sales)
    _, x = net.sale_x(shop.resident, everything, noise=None)
    events = x[asked.window.sale]
    u = net.member_vectors(shop.resident, asked, events, noise=None).detach()
    mean = mixed(net.member_tower.history, events, asked.window, asked.window.valid).detach()
    alike = cosine_similarity(u[:, :-1], mean[:, :-1], dim=1)
    assert float(alike.quantile(0.05)) > 0.9


def test_before_training_content_in_numbers_is_as_loud_as_a_value(shop: Shop) -> None:
    content = shop.net(TwoTower(dim=64)).sale_input.content
    assert content.dense is not None
    numbers = torch.randn(1000, content.dense.in_features, generator=torch.Generator())
    assert float(content.dense(numbers).detach().norm(dim=1).mean()) == pytest.approx(
        START, rel=0.2
    )
