"""What batches do for a GPU, on CPU tensors: x of the whole catalogue, no size asked for."""

from __future__ import annotations

import pytest
import torch

from recsys.towers import batches
from recsys.towers.batches import Assembler, Batch, Sampler, Share
from recsys.towers.lightning import forward
from recsys.towers.losses import Planner, resolve
from recsys.towers.noise import Noise
from recsys.towers.softmax import Kernel, chunked_softmax
from recsys.towers.spec import AutoLoss, Loss, Sampled, TwoTower
from tests.towers.shops import Shop, shaken

KEY = (1, 0, 0)


def batch_of(shop: Shop, loss: Loss) -> Batch:
    spec = TwoTower(dim=16, loss=loss, rows_per_group=16)
    training, resident = shop.blocks.towers, shop.resident
    planner = Planner.of(
        training,
        resolve(spec, training, shop.dataset.task),
        opens_at=shop.dataset.opens_at,
        device=resident.device,
    )
    made = Assembler.of(resident, planner, spec, share=Share())
    return made(Sampler(training, 16, 4, 1).epoch(0)[2], KEY)


@pytest.mark.parametrize("loss", [AutoLoss(), Sampled(in_batch=8, uniform=12)])
def test_x_of_the_whole_catalogue_gives_the_loss_and_gradient_of_the_sales_of_the_step(
    shop: Shop, loss: Loss, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, found = shaken(shop.net(TwoTower(dim=16))), []
    for waits in (False, True):
        monkeypatch.setattr(batches, "_waits", lambda _, waits=waits: waits)
        batch = batch_of(shop, loss)
        assert (len(batch.sales) == shop.dataset.num_sales) is waits
        net.zero_grad()
        u, v = forward(net, batch, shop.resident, noise=Noise.of(*KEY))
        total = chunked_softmax(u, v, 1 / net.tau, blocks=batch.blocks, kernel=Kernel())
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        grads = [p.grad.flatten() for p in net.parameters() if p.grad is not None]
        found.append((total.detach(), torch.cat(grads)))
    (few, of_few), (every, of_every) = found
    torch.testing.assert_close(every, few, rtol=1e-6, atol=0)
    assert float((of_every - of_few).norm() / of_few.norm()) < 1e-5
