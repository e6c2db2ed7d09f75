from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recsys.towers import embed, lightning
from recsys.towers.column_vectors import ColumnVectors
from recsys.towers.device import resolve
from recsys.towers.embed import Embedder
from recsys.towers.fit import fit, prepare
from recsys.towers.lightning import forward
from recsys.towers.softmax import chunked_softmax
from recsys.towers.spec import Cpu, TwoTower
from recsys.towers.two_tower import cut
from tests.towers.shops import Shop, job
from tests.towers.test_batches import KEY, assembler, sampler

NESTED = TwoTower(dim=16, epochs=4, matryoshka=(8, 4))


@pytest.fixture(scope="module")
def embedder(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    best = fit(job(shop, tmp_path_factory.mktemp("nested"), NESTED))
    return Embedder(embed.load(best), shop.dataset, shop.encoded)


def test_the_loss_is_the_sum_over_the_widths(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def spy(u: Tensor, v: ColumnVectors, scale: Tensor, **kwargs: Any) -> Tensor:
        total = chunked_softmax(u, v, scale, **kwargs)
        seen.append((u.detach(), v[torch.arange(len(v.place))].detach(), total.detach()))
        return total

    monkeypatch.setattr(lightning, "chunked_softmax", spy)
    training = prepare(job(shop, tmp_path, NESTED), resolve(Cpu(threads=1)))
    batch = next(iter(training.feed))
    loss = training.training_step(batch, 0)
    assert [u.shape[1] for u, _, _ in seen] == [16, 8, 4]
    assert float(loss.detach()) == pytest.approx(float(sum(s[2] for s in seen)) / batch.rows)
    u, v, _ = seen[0]
    for short_u, short_v, _ in seen[1:]:
        width = short_u.shape[1]
        for short, whole in ((short_u, u), (short_v, v)):
            assert torch.equal(short[:, -1], whole[:, -1])
            unit = whole[:, : width - 1] / whole[:, : width - 1].norm(dim=1, keepdim=True)
            torch.testing.assert_close(short[:, :-1], unit)


@pytest.mark.parametrize("width", [16, 8, 4])
def test_a_cut_export_ranks_as_its_own_loss_saw_it(
    shop: Shop, embedder: Embedder, width: int
) -> None:
    net, make = embedder.vectors.net, assembler(shop, NESTED)
    for step in sampler(shop, 16).epoch(0)[:3]:
        batch = make(step, KEY)
        with torch.no_grad():
            u, v = forward(net, batch, shop.resident, noise=None)
        for block, chunk in zip(batch.blocks, step, strict=True):
            at = int(shop.blocks.towers.group_at[chunk.group])
            rows = batch.sales[batch.column_place[block.columns].numpy()]
            sales = embedder.embeddings_sales(rows, at).cut(width)
            members = embedder.embeddings_members(shop.blocks.towers.member[chunk.rows], at)
            ours = members.cut(width).vectors @ sales.vectors.T
            seen = cut(u[block.rows], width) @ cut(v[block.columns], width).T
            np.testing.assert_allclose(ours, seen, atol=1e-5)
