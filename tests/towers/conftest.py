from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pytest
import torch

from recsys.data.encode import encode, fit
from recsys.data.requests import Blocks, blocks
from recsys.domain.dataset import Dataset
from recsys.domain.encoded import Encoded
from recsys.domain.source import Source
from recsys.towers.resident import Resident
from recsys.towers.spec import TwoTower
from recsys.towers.standard import standardise
from recsys.towers.two_tower import Sizes, TwoTowerNet
from tests.builders import tiny_dataset

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Shop:
    """A tiny shop ready for training."""

    dataset: Dataset
    blocks: Blocks
    encoded: Encoded

    @cached_property
    def resident(self) -> Resident:
        return Resident.of(self.dataset, self.encoded, CPU)

    def net(self, spec: TwoTower, seed: int = 1) -> TwoTowerNet:
        net = TwoTowerNet(
            spec,
            Sizes.of(self.encoded),
            used=self.resident.used,
            sales=self.dataset.num_sales,
            seed=seed,
        )
        standardise(net, self.resident, self.blocks.towers)
        return net


def shop_of(dataset: Dataset) -> Shop:
    cut = blocks(dataset, Source())
    encoders = fit(dataset, int(cut.towers.at.max()) + 1, 12)
    return Shop(dataset, cut, encode(encoders, dataset))


@pytest.fixture(scope="session")
def shop() -> Shop:
    return shop_of(tiny_dataset(members=150, days=16, sales_a_day=8))


def shaken(net: TwoTowerNet, seed: int = 0) -> TwoTowerNet:
    """Move all weights off their starting values, so that nothing is zero by luck."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(torch.randn(weight.shape, generator=source) * 0.05)
    return net
