"""Towers whose weights nothing trained, and the numpy tower that a bundle would carry of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from recsys.data.encode import encode, fit
from recsys.data.encoders import Encoders
from recsys.domain.arrays import F32
from recsys.domain.dataset import Dataset
from recsys.domain.encoded import Encoded
from recsys.towers.carried import carried
from recsys.towers.embed import Embedder, Trained
from recsys.towers.keys import sale_keys
from recsys.towers.plain import MemberTower
from recsys.towers.resident import rows_in_use
from recsys.towers.spec import TwoTower
from recsys.towers.spectral import Spectrum
from recsys.towers.two_tower import Sizes, TwoTowerNet
from tests.towers.shops import shaken
from tests.towers.told import Told, as_members, past_of


@dataclass(frozen=True)
class Made:
    """Towers with weights that nothing is zero in, and what a bundle would carry of them."""

    dataset: Dataset
    encoders: Encoders
    embedder: Embedder
    tower: MemberTower

    def torchs(self, told: list[Told], at: int) -> F32:
        """What the towers say of these people, were they members of the dataset."""
        people = as_members(self.dataset, told)
        embedder = Embedder(self.embedder.trained, people, encode(self.encoders, people))
        return embedder.members(np.arange(len(told)), at)

    def plains(self, told: list[Told], at: int) -> F32:
        """What the numpy tower says of them, by what they tell."""
        features = self.tower.columns([one.features for one in told])
        return self.tower(past_of(told), features, at=at)


def made(dataset: Dataset, spec: TwoTower, *, rank: int = 0) -> Made:
    encoders = fit(dataset, dataset.watermark, spec.table_bits)
    encoded = encode(encoders, dataset)
    embedder = Embedder(trained_of(dataset, encoded, spec, rank=rank), dataset, encoded)
    tower = carried(embedder, encoders)
    assert tower is not None
    return Made(dataset, encoders, embedder, tower)


def trained_of(dataset: Dataset, encoded: Encoded, spec: TwoTower, *, rank: int = 0) -> Trained:
    """Weights that no training made, every part of them moved, half the own vectors known."""
    used, sizes = rows_in_use(encoded), Sizes.of(encoded)
    net = shaken(TwoTowerNet(spec, sizes, used=used, sales=dataset.num_sales, seed=3))
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        net.sale_input.known.bernoulli_(0.5, generator=source)
        net.member_tower.number_mean.normal_(generator=source)
        net.member_tower.number_scale.uniform_(0.2, 2.0, generator=source)
    spectrum = None
    if rank:
        coordinates = torch.randn(2, dataset.num_sales, rank, generator=source)
        coordinates[:, ::3] = 0  # some sales opened after the fit
        spectrum = Spectrum(coordinates[0], coordinates[1], weight=0.3)
    return Trained(
        weights=dict(net.state_dict()),
        used=used,
        sale_keys=sale_keys(dataset.sales["sale"]).numpy(),
        spec=spec,
        sizes=sizes,
        seed=3,
        encoders=encoded.fingerprint,
        fingerprint="model",
        until=0,
        spectrum=spectrum,
    )
