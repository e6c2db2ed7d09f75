"""What a GPU does must be what a CPU does; skipped where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from recsys.towers.batches import Assembler, Batch, Sampler, Share
from recsys.towers.device import resolve
from recsys.towers.fit import EpochRow, fit, prepare
from recsys.towers.lightning import forward
from recsys.towers.losses import Planner
from recsys.towers.losses import resolve as resolve_loss
from recsys.towers.noise import Noise
from recsys.towers.resident import Resident
from recsys.towers.softmax import Kernel, chunked_softmax
from recsys.towers.spec import AutoLoss, Cpu, Gpu, Loss, Sampled, TwoTower
from tests.towers.shops import SMALL, Shop, job, shaken

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
    pytest.mark.filterwarnings("ignore:.*TensorFloat32.*", "ignore:Synchronization debug mode.*"),
]
GPU = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
LOSSES = [AutoLoss(), Sampled(in_batch=8, uniform=12)]
KEY = (1, 0, 0)


def made(shop: Shop, loss: Loss, device: torch.device) -> tuple[Resident, Batch]:
    spec = TwoTower(dim=16, loss=loss, rows_per_group=16)
    resident = Resident.of(shop.dataset, shop.encoded, device)
    training = shop.blocks.towers
    planner = Planner.of(
        training,
        resolve_loss(spec, training, shop.dataset.task),
        opens_at=shop.dataset.opens_at,
        device=device,
    )
    step = Sampler(training, 16, 4, 1).epoch(0)[2]
    return resident, Assembler.of(resident, planner, spec, share=Share())(step, KEY)


def learned(shop: Shop, loss: Loss, device: torch.device, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """Return loss and gradient of one step in float32."""
    resident, batch = made(shop, loss, device)
    net = shaken(shop.net(TwoTower(dim=16))).to(device)
    u, v = forward(net, batch, resident, noise=Noise.of(*KEY))
    total = chunked_softmax(u, v, 1 / net.tau, blocks=batch.blocks, kernel=kernel)
    total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    grads = [p.grad.flatten() for p in net.parameters() if p.grad is not None]
    return total.detach().cpu(), torch.cat(grads).cpu()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_gpu_plans_the_very_same_step(shop: Shop, loss: Loss) -> None:
    (_, host), (_, there) = (made(shop, loss, device) for device in (torch.device("cpu"), GPU))
    everything = torch.from_numpy(there.sales)
    assert torch.equal(
        everything[there.column_place.cpu()], torch.from_numpy(host.sales)[host.column_place]
    )
    torch.testing.assert_close(there.as_of.cpu(), host.as_of)
    for one, other in zip(host.blocks, there.blocks, strict=True):
        torch.testing.assert_close(other.offset.cpu(), one.offset)
        assert torch.equal(other.targets.own.cpu(), one.targets.own)
        assert (one.past is None) == (other.past is None)
        if one.past is not None and other.past is not None:
            assert torch.equal(other.past.cpu(), one.past)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_gpu_learns_from_a_step_what_a_cpu_does(shop: Shop, loss: Loss) -> None:
    host = learned(shop, loss, torch.device("cpu"), Kernel())
    there = learned(shop, loss, GPU, Kernel())
    torch.testing.assert_close(there[0], host[0], rtol=1e-4, atol=1e-4)
    assert float((there[1] - host[1]).norm() / host[1].norm()) < 1e-3


@pytest.mark.parametrize("loss", LOSSES)
def test_compiled_passes_give_what_plain_ones_give(shop: Shop, loss: Loss) -> None:
    plain = learned(shop, loss, GPU, Kernel())
    compiled = learned(shop, loss, GPU, Kernel(fuse=True))
    torch.testing.assert_close(compiled[0], plain[0], rtol=1e-4, atol=1e-4)
    assert float((compiled[1] - plain[1]).norm() / plain[1].norm()) < 1e-3
    low = learned(shop, loss, GPU, Kernel(low=True, fuse=True))
    assert float((low[1] - plain[1]).norm() / plain[1].norm()) < 3e-2


def test_no_step_waits_for_the_gpu(shop: Shop, tmp_path: Path) -> None:
    asked = replace(job(shop, tmp_path, SMALL), trainer=Gpu())
    training = prepare(asked, resolve(Gpu()))
    steps = training.feed.sampler.epoch(0)
    try:
        for number, chunks in enumerate(steps[:4]):
            # the first one loads kernels, and that waits
            torch.cuda.set_sync_debug_mode("error" if number > 1 else "default")
            batch = training.feed.assembler(chunks, (1, 0, number))
            loss = training.training_step(batch, number)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            training.on_before_optimizer_step(training.adam)
            training.adam.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert bool(torch.isfinite(torch.stack(training.losses)).all())


def test_a_run_on_a_gpu_learns_as_much_and_goes_on_after_a_stop(shop: Shop, tmp_path: Path) -> None:
    curves: dict[str, list[EpochRow]] = {"cpu": [], "gpu": []}
    for name, trainer in (("cpu", Cpu(threads=1)), ("gpu", Gpu())):
        asked = job(shop, tmp_path / name, SMALL)
        fit(replace(asked, trainer=trainer, on_epoch=curves[name].append))
    best = {name: max(row.day0_ndcg_at_10 for row in rows) for name, rows in curves.items()}
    assert best["gpu"] > best["cpu"] - 0.05
    again: list[EpochRow] = []
    longer = SMALL.model_copy(update={"epochs": SMALL.epochs})
    fit(replace(job(shop, tmp_path / "gpu", longer), trainer=Gpu(), on_epoch=again.append))
    assert not again
    assert np.isfinite(best["gpu"])
