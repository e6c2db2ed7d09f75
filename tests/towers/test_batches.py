from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.towers.batches import MIN_STEPS, Assembler, Batch, Chunk, Sampler, Share
from recsys.towers.columns import padded
from recsys.towers.lightning import forward
from recsys.towers.losses import Planner, resolve
from recsys.towers.noise import Noise
from recsys.towers.softmax import Kernel, chunked_softmax
from recsys.towers.spec import AutoLoss, Encoder, Loss, Sampled, TwoTower
from recsys.towers.two_tower import TwoTowerNet
from tests.towers.shops import ENCODERS, Shop, named, shaken, with_encoder

KEY = (1, 0, 0)
POOL = Sampled(in_batch=8, uniform=12)


def spec_of(loss: Loss, rows: int = 16) -> TwoTower:
    return TwoTower(dim=16, loss=loss, rows_per_group=rows)


def assembler(shop: Shop, spec: TwoTower, share: Share = Share()) -> Assembler:  # ruff: ignore[function-call-in-default-argument]  # frozen
    training = shop.blocks.towers
    planner = Planner.of(
        training,
        resolve(spec, training, shop.dataset.task),
        opens_at=shop.dataset.opens_at,
        device=shop.resident.device,
    )
    return Assembler.of(shop.resident, planner, spec, share=share)


def sampler(shop: Shop, rows: int, seed: int = 1) -> Sampler:
    return Sampler(shop.blocks.towers, rows, 4, seed)


def plain(steps: list[list[Chunk]]) -> list[list[tuple[int, list[int]]]]:
    return [[(chunk.group, chunk.rows.tolist()) for chunk in step] for step in steps]


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 300), seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_every_request_stands_in_one_step_of_an_epoch(
    shop: Shop, rows: int, seed: int, epoch: int
) -> None:
    some = sampler(shop, rows, seed)
    steps = some.epoch(epoch)
    chunks = [chunk for step in steps for chunk in step]
    assert sorted(np.concatenate([c.rows for c in chunks])) == list(range(len(some.requests)))
    assert all(np.all(some.requests.group[c.rows] == c.group) for c in chunks)
    assert all(len(c.rows) <= rows for c in chunks)
    assert all(sum(len(c.rows) for c in step) <= 5 * rows for step in steps)
    assert abs(len(steps) - some.steps) <= 1


def test_steps_are_a_pure_function_of_seed_and_epoch(shop: Shop) -> None:
    first = plain(sampler(shop, 16).epoch(3))
    np.random.default_rng().random(5)
    torch.rand(5)
    assert plain(sampler(shop, 16).epoch(3)) == first
    assert plain(sampler(shop, 16).epoch(4)) != first
    assert plain(sampler(shop, 16, seed=2).epoch(3)) != first


def tensors(batch: Batch) -> dict[str, torch.Tensor]:
    found = {
        "event_place": batch.event_place,
        "column_place": batch.column_place,
        "as_of": batch.as_of,
        "days": batch.asked.window.days,
    }
    for number, block in enumerate(batch.blocks):
        found[f"offset {number}"] = block.offset
        found[f"target {number}"] = block.targets.column
        found[f"own {number}"] = block.targets.own
    return found


@pytest.mark.parametrize("loss", [AutoLoss(), POOL])
def test_a_batch_is_a_pure_function_of_seed_epoch_and_step(shop: Shop, loss: Loss) -> None:
    step = sampler(shop, 16).epoch(0)[2]
    one, two = (tensors(assembler(shop, spec_of(loss))(step, KEY)) for _ in range(2))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    for other in ((2, 0, 0), (1, 1, 0), (1, 0, 1)):
        drawn = assembler(shop, spec_of(loss))(step, other)
        assert not torch.equal(drawn.column_place, one["column_place"])


def sales_of(batch: Batch, number: int) -> list[int]:
    columns = batch.blocks[number].columns
    sales: list[int] = batch.sales[batch.column_place[columns].numpy()].tolist()
    return sales


@pytest.mark.parametrize("loss", [AutoLoss(), POOL])
def test_processes_share_rows_and_see_the_same_negatives(shop: Shop, loss: Loss) -> None:
    step, spec = sampler(shop, 15).epoch(0)[2], spec_of(loss)
    whole = assembler(shop, spec)(step, KEY)
    shares = [assembler(shop, spec, Share(rank, 2))(step, KEY) for rank in range(2)]
    rows = torch.cat([part.asked.request for part in shares])
    assert sorted(rows.tolist()) == sorted(whole.asked.request.tolist())
    assert [part.rows for part in shares] == [whole.rows] * 2
    for number, block in enumerate(whole.blocks):
        for part in shares:
            assert sales_of(part, number) == sales_of(whole, number)
            assert torch.equal(part.blocks[number].offset, block.offset)


def loss_and_gradient(net: TwoTowerNet, batch: Batch, shop: Shop) -> tuple[float, torch.Tensor]:
    net.zero_grad()
    u, v = forward(net, batch, shop.resident, noise=Noise.of(*KEY))
    total = chunked_softmax(u, v, 1 / net.tau, blocks=batch.blocks, kernel=Kernel())
    total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return total.item(), torch.cat([
        p.grad.flatten() for p in net.parameters() if p.grad is not None
    ])


def test_two_threads_add_up_gradients_in_one_order(shop: Shop) -> None:
    # wide enough that both threads have work: repeated rows are where an order could change
    spec = TwoTower(dim=64, loss=POOL)
    group = shop.blocks.towers.group
    step = [Chunk(int(g), np.tile(np.flatnonzero(group == g), 4)) for g in np.unique(group)]
    net, before = shaken(shop.net(spec)), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        batch = assembler(shop, spec)(step, KEY)
        first, *others = [loss_and_gradient(net, batch, shop) for _ in range(8)]
    finally:
        torch.set_num_threads(before)
    for total, gradient in others:
        assert total == first[0]
        assert torch.equal(gradient, first[1])


@pytest.mark.parametrize("encoder", ENCODERS, ids=named)
@pytest.mark.parametrize("loss", [AutoLoss(), POOL])
def test_losses_and_gradients_of_two_processes_sum_to_those_of_one(
    shop: Shop, loss: Loss, encoder: Encoder
) -> None:
    step, spec = sampler(shop, 15).epoch(0)[2], with_encoder(spec_of(loss), encoder)
    net = shaken(shop.net(spec))
    whole = loss_and_gradient(net, assembler(shop, spec)(step, KEY), shop)
    parts = [
        loss_and_gradient(net, assembler(shop, spec, Share(rank, 2))(step, KEY), shop)
        for rank in range(2)
    ]
    assert parts[0][0] + parts[1][0] == pytest.approx(whole[0], rel=1e-5)
    torch.testing.assert_close(parts[0][1] + parts[1][1], whole[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("encoder", ENCODERS, ids=named)
def test_a_process_without_a_row_of_the_step_adds_nothing(shop: Shop, encoder: Encoder) -> None:
    spec = with_encoder(spec_of(AutoLoss()), encoder)
    step = [Chunk(int(shop.blocks.towers.group[9]), np.array([9]))]
    batch = assembler(shop, spec, Share(1, 2))(step, KEY)
    total, gradient = loss_and_gradient(shaken(shop.net(spec)), batch, shop)
    assert total == pytest.approx(0)
    assert torch.all(gradient == 0)


@pytest.mark.parametrize("loss", [AutoLoss(), POOL])
def test_more_rows_a_step_leave_each_row_as_many_columns(shop: Shop, loss: Loss) -> None:
    group = int(shop.blocks.towers.group[-1])
    rows = np.flatnonzero(shop.blocks.towers.group == group)
    counts = set()
    for taken in (10, 20, 40):
        spec = spec_of(loss, rows=taken)
        block = assembler(shop, spec)([Chunk(group, rows[:taken])], KEY).blocks[0]
        counts.add(len(block.offset))
        assert block.rows == slice(0, taken)
    if loss is POOL:
        assert counts == {32}
    else:
        wanted = np.array([len(shop.blocks.towers.shelf(group)) + 256])
        assert counts == set(padded(wanted).tolist())


def test_places_lead_to_the_sales_of_events_and_columns(shop: Shop) -> None:
    step, spec = sampler(shop, 16).epoch(0)[0], spec_of(AutoLoss())
    batch = assembler(shop, spec)(step, KEY)
    window = batch.asked.window
    sales = torch.from_numpy(batch.sales)
    assert torch.equal(sales[batch.event_place][window.valid], window.sale[window.valid])
    for number, chunk in enumerate(step):
        shelf = shop.blocks.towers.shelf(chunk.group).tolist()
        assert sales_of(batch, number)[: len(shelf)] == shelf
    assert len(np.unique(batch.sales)) == len(batch.sales)


def test_no_event_of_a_batch_lies_at_or_after_its_decision(shop: Shop, endless: Shop) -> None:
    for some in (shop, endless):
        for step in sampler(some, 32).epoch(0):
            window = assembler(some, spec_of(AutoLoss()))(step, KEY).asked.window
            assert torch.all(window.days[window.valid] >= 0)
            rows = np.concatenate([chunk.rows for chunk in step])
            last = some.blocks.towers.history_end[rows] - 1
            has = window.valid[:, 0].numpy()
            assert np.all(some.dataset.history.at[last[has]] < some.blocks.towers.at[rows[has]])


def test_small_sets_still_get_enough_steps(shop: Shop) -> None:
    small = Sampler.of(shop.blocks.towers, TwoTower(), 1)
    assert small.rows_per_group < 512
    assert small.steps >= min(MIN_STEPS, len(small.requests) // (16 * 4)) - 1
    given_rows = Sampler.of(shop.blocks.towers, TwoTower(rows_per_group=3), 1)
    assert given_rows.rows_per_group == 3
