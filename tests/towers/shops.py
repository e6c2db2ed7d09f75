from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

import torch

from recsys.data.encode import encode, fit
from recsys.data.requests import Blocks, blocks
from recsys.domain.dataset import Dataset
from recsys.domain.encoded import Encoded
from recsys.domain.source import Source
from recsys.towers.fit import TowerJob
from recsys.towers.resident import Resident
from recsys.towers.spec import Cpu, Encoder, TwoTower
from recsys.towers.standard import standardise
from recsys.towers.two_tower import Sizes, TwoTowerNet

CPU = torch.device("cpu")
SMALL = TwoTower(dim=16, epochs=4)
GENTLE = TwoTower(dim=8, epochs=2, patience=0, rate=1e-4, table_rate=1e-3)
"""Adam makes the rounding of a gradient that nearly cancels as large as its rate: small here."""
ENCODERS: list[Encoder] = [kind() for kind in get_args(get_args(Encoder)[0])]
"""Every way to make something of a past, as it comes: all laws of towers hold for each."""


def with_encoder(spec: TwoTower, encoder: Encoder) -> TwoTower:
    return spec.model_copy(update={"encoder": encoder})


def named(encoder: Encoder) -> str:
    return encoder.kind


@dataclass(frozen=True)
class Shop:
    """A tiny shop ready for training."""

    dataset: Dataset
    blocks: Blocks
    encoded: Encoded

    @cached_property
    def resident(self) -> Resident:
        return Resident.of(self.dataset, self.encoded, CPU)

    def bare(self, spec: TwoTower, seed: int = 1) -> TwoTowerNet:
        sizes, used = Sizes.of(self.encoded), self.resident.used
        return TwoTowerNet(spec, sizes, used=used, sales=self.dataset.num_sales, seed=seed)

    def net(self, spec: TwoTower, seed: int = 1) -> TwoTowerNet:
        net = self.bare(spec, seed)
        standardise(net, self.resident, self.blocks.towers)
        return net


def shop_of(dataset: Dataset) -> Shop:
    cut = blocks(dataset, Source(outcome_hours=24))
    encoders = fit(dataset, int(cut.towers.at.max()) + 1, 12)
    return Shop(dataset, cut, encode(encoders, dataset))


def job(shop: Shop, folder: Path, towers: TwoTower = SMALL) -> TowerJob:
    return TowerJob(
        shop.dataset,
        shop.encoded,
        train=shop.blocks.towers,
        validation=shop.blocks.validation,
        folder=folder,
        towers=towers,
        trainer=Cpu(threads=1),
        data_fingerprint=shop.dataset.fingerprint,
    )


def shaken(net: TwoTowerNet, seed: int = 0) -> TwoTowerNet:
    """Move all weights off their starting values, so that nothing is zero by luck."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(torch.randn(weight.shape, generator=source) * 0.05)
    return net
