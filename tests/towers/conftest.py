from __future__ import annotations

from pathlib import Path

import pytest

from recsys.towers.fit import fit as train
from tests.builders import tiny_dataset
from tests.towers.shops import ENCODERS, SMALL, Shop, job, named, shop_of, with_encoder


@pytest.fixture(scope="session")
def shop() -> Shop:
    return shop_of(tiny_dataset(members=90, days=16, sales_a_day=8))


@pytest.fixture(scope="session")
def endless() -> Shop:
    return shop_of(tiny_dataset(members=90, days=16, sales_a_day=8, task="endless"))


@pytest.fixture(scope="session", params=ENCODERS, ids=named)
def trained(
    shop: Shop, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    """The best checkpoint of a small training."""
    spec = with_encoder(SMALL, request.param)
    return train(job(shop, tmp_path_factory.mktemp("trained"), spec))
