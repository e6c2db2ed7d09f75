from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import layer_norm

from recsys.towers import encoder_laws
from recsys.towers.batches import past_of
from recsys.towers.causal import CausalHistory, Hiding, Layer
from recsys.towers.noise import Noise
from recsys.towers.resident import Window
from recsys.towers.spec import Causal, TwoTower
from recsys.towers.two_tower import TwoTowerNet, ask
from recsys.towers.vectors import Vectors
from tests.towers.shops import SMALL, Shop, shaken

DIM, LONGEST = 8, 12


def spec_of(blocks: int = 2, *, dropout: float = 0.0) -> TwoTower:
    encoder = Causal(blocks=blocks, heads=2, dropout=dropout, gap_buckets=16)
    return TwoTower(dim=DIM, history=LONGEST, encoder=encoder)


def attention(spec: TwoTower) -> CausalHistory:
    """Make an encoder none of whose weights is zero or small by luck."""
    assert isinstance(spec.encoder, Causal)
    torch.manual_seed(0)
    net = CausalHistory(spec.encoder, dim=DIM, history=LONGEST)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(torch.randn(weight.shape) * 0.3)
    return net


def random_past(seed: int, rows: int = 5, length: int = 7) -> tuple[Tensor, Window, Tensor]:
    """Make x of events, their window and which of them are kept; the first row keeps none."""
    source = torch.Generator().manual_seed(seed)
    valid = torch.arange(length) < torch.randint(1, length + 1, (rows, 1), generator=source)
    days = torch.rand(rows, length, generator=source).cumsum(dim=1) * 40
    window = Window(
        sale=torch.zeros(rows, length, dtype=torch.int64),
        what=torch.randint(0, 35, (rows, length), generator=source),
        days=days,
        valid=valid,
        so_far=valid.sum(dim=1).float(),
    )
    keep = valid & (torch.rand(rows, length, generator=source) < 0.7)
    keep[0] = False
    return torch.randn(rows, length, DIM, generator=source), window, keep


def added(
    net: CausalHistory, x: Tensor, window: Window, keep: Tensor, noise: Noise | None = None
) -> Tensor:
    out: Tensor = net(x, window, keep, request=torch.arange(len(x)), noise=noise)
    return out


def bucket_of(days: float, buckets: int) -> int:
    return min(int(math.log2(1 + days * 24 * 60) / 22 * buckets), buckets - 1)


def slow_layer(layer: Layer, stream: Tensor, days: list[float]) -> Tensor:
    """Let each event [n, D] look at itself and those before it, one at a time."""
    seen = layer_norm(stream, stream.shape[1:])
    query, key, value = layer.query(seen), layer.key(seen), layer.value(seen)
    width, buckets = DIM // layer.heads, layer.gap.shape[1]
    rows = []
    for place in range(len(stream)):
        heard = []
        for head in range(layer.heads):
            mine = slice(head * width, (head + 1) * width)
            match = key[: place + 1, mine] @ query[place, mine] / width**0.5
            far = [
                layer.place[head, place - other]
                + layer.gap[head, bucket_of(days[other] - days[place], buckets)]
                for other in range(place + 1)
            ]
            match = match + torch.stack(far)
            heard.append(match.softmax(dim=0) @ value[: place + 1, mine])
        rows.append(stream[place] + layer.mix(torch.cat(heard)))
    out = torch.stack(rows)
    raised: Tensor = out + layer.mlp(layer_norm(out, out.shape[1:]))
    return raised


def slowly(net: CausalHistory, x: Tensor, window: Window, keep: Tensor) -> Tensor:
    """Return what one past adds, x [L, D], from its kept events alone."""
    places = [place for place in reversed(range(len(x))) if keep[place]]
    stream = torch.stack([x[place] + net.what[window.what[0, place]] for place in places])
    seen = layer_norm(stream, stream.shape[1:])
    days = [float(window.days[0, place]) for place in places]
    for layer in net.layers:
        assert isinstance(layer, Layer)
        seen = slow_layer(layer, seen, days)
    out: Tensor = net.out(layer_norm(seen[-1], seen.shape[1:]))
    return out


def row_of(window: Window, row: int) -> Window:
    mine = slice(row, row + 1)
    return Window(
        window.sale[mine],
        window.what[mine],
        window.days[mine],
        window.valid[mine],
        window.so_far[mine],
    )


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_attention_is_that_of_each_event_over_itself_and_those_before(blocks: int) -> None:
    net = attention(spec_of(blocks))
    x, window, keep = random_past(blocks)
    fast = added(net, x, window, keep)
    assert torch.all(fast[0] == 0)
    for row in range(1, len(x)):
        if keep[row].any():
            slow = slowly(net, x[row], row_of(window, row), keep[row])
            torch.testing.assert_close(fast[row], slow, rtol=1e-4, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), longer=st.integers(0, 5))
def test_padding_hidden_events_and_what_stands_in_them_change_nothing(
    seed: int, longer: int
) -> None:
    net = attention(spec_of())
    x, window, keep = random_past(seed)
    before = added(net, x, window, keep)
    assert torch.isfinite(before).all()
    source = torch.Generator().manual_seed(seed + 1)

    def padded(values: Tensor, filling: float) -> Tensor:
        more = torch.full((len(values), longer, *values.shape[2:]), filling, dtype=values.dtype)
        return torch.cat((values, more), dim=1)

    noise = torch.randn(len(x), x.shape[1] + longer, DIM, generator=source) * 9
    shown = padded(keep, 0)
    other = replace(
        window,
        what=padded(window.what, 34).where(shown, torch.full_like(shown, 3, dtype=torch.int64)),
        days=padded(window.days, 999.0) + 500 * ~shown,
        valid=padded(window.valid, 0),
    )
    after = added(net, padded(x, 0.0).where(shown[..., None], noise), other, shown)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-6)


def test_what_is_hidden_or_blank_learns_nothing_and_gradients_are_finite() -> None:
    net = attention(spec_of())
    x, window, keep = random_past(3)
    x.requires_grad_()
    added(net, x, window, keep).square().sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert x.grad is not None
    assert torch.all(x.grad[~keep] == 0)
    assert torch.all(x.grad[keep].abs().sum(dim=1) > 0)
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name


def test_bfloat16_autocast_stays_within_some_hundredths() -> None:
    net = attention(spec_of(3, dropout=0.2))
    x, window, keep = random_past(11)
    with torch.no_grad():
        exact = added(net, x, window, keep, Noise.of(1))
        with torch.autocast("cpu", torch.bfloat16):
            low = added(net, x, window, keep, Noise.of(1))
    assert low.dtype == torch.bfloat16
    assert float((low - exact).norm() / exact.norm()) < 0.05


def test_a_step_without_rows_is_lived_through() -> None:
    x, window, keep = random_past(3)
    none = row_of(window, 99)
    assert added(attention(spec_of()), x[:0], none, keep[:0]).shape == (0, DIM)


def test_the_order_of_events_and_the_time_between_them_count() -> None:
    net = attention(spec_of())
    x, window, keep = random_past(5)
    keep = torch.ones_like(keep)
    before = added(net, x, window, keep)
    swapped = x[:, [0, 2, 1, *range(3, x.shape[1])]]
    assert not torch.allclose(added(net, swapped, window, keep), before, atol=1e-3)
    aged = replace(window, days=window.days * 30)
    assert not torch.allclose(added(net, x, aged, keep), before, atol=1e-3)


def test_dropout_is_that_of_the_request_whatever_else_is_in_the_step() -> None:
    net = attention(spec_of(dropout=0.5))
    x, window, keep = random_past(7)
    noise = Noise.of(1, 2, 3)
    together = added(net, x, window, keep, noise)
    assert not torch.allclose(together, added(net, x, window, keep), atol=1e-3)
    assert not torch.allclose(together, added(net, x, window, keep, Noise.of(1, 2, 4)), atol=1e-3)
    for row in range(len(x)):
        mine = slice(row, row + 1)
        request = torch.tensor([row])
        alone = net(x[mine], row_of(window, row), keep[mine], request=request, noise=noise)
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-5)


def test_dropout_hides_as_many_coordinates_as_asked_and_keeps_the_mean() -> None:
    hide = Hiding(Noise.of(1), torch.arange(2000), rate=0.3)
    hidden = hide(torch.ones(2000, 3, 16), 0)
    assert torch.equal(hidden[:, 0], hidden[:, 2])
    assert float((hidden == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(hidden.mean()) == pytest.approx(1, abs=0.02)
    assert not torch.equal(hide(torch.ones(2000, 3, 16), 1), hidden)


@pytest.mark.parametrize("law", encoder_laws.LAWS, ids=lambda law: law.__name__)
def test_it_keeps_the_public_laws_of_encoders(law: encoder_laws.Law) -> None:
    law(Causal())
    law(Causal(blocks=1, heads=4, gap_buckets=2))


def both(shop: Shop) -> tuple[TwoTowerNet, TwoTowerNet]:
    causal = SMALL.model_copy(update={"encoder": Causal(blocks=3, dropout=0.3)})
    return shop.net(SMALL), shop.net(causal)


def test_untrained_it_is_the_pooled_encoder_to_the_bit(shop: Shop) -> None:
    requests = shop.blocks.towers
    rows = np.arange(len(requests) - 50, len(requests))
    asked = ask(shop.resident, past_of(requests, rows), length=SMALL.history, request=rows)
    for noise in (None, Noise.of(1, 2, 3)):
        made = []
        for net in both(shop):
            x = Vectors(net, shop.resident).x[asked.window.sale]
            made.append(net.member_vectors(shop.resident, asked, x, noise=noise))
        assert torch.equal(*made)


def test_it_adds_weights_and_moves_none_of_the_others(shop: Shop) -> None:
    pooled, causal = (net.state_dict() for net in both(shop))
    new = causal.keys() - pooled.keys()
    assert all(name.startswith("member_tower.reader.") for name in new)
    assert all(torch.equal(causal[name], value) for name, value in pooled.items())


def test_every_layer_learns_once_the_output_has_moved(shop: Shop) -> None:
    net = shaken(both(shop)[1])
    requests = shop.blocks.towers
    rows = np.arange(len(requests) - 50, len(requests))
    asked = ask(shop.resident, past_of(requests, rows), length=SMALL.history, request=rows)
    x = Vectors(net, shop.resident).x[asked.window.sale]
    u = net.member_vectors(shop.resident, asked, x, noise=Noise.of(1))
    u[:, :3].sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert net.member_tower.reader is not None
    for name, weight in net.member_tower.reader.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name
