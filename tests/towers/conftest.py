from __future__ import annotations

from pathlib import Path

import pytest

from recsys.towers.fit import fit as train
from tests.builders import tiny_dataset
from tests.towers.shops import Shop, job, shop_of


@pytest.fixture(scope="session")
def shop() -> Shop:
    return shop_of(tiny_dataset(members=90, days=16, sales_a_day=8))


@pytest.fixture(scope="session")
def endless() -> Shop:
    return shop_of(tiny_dataset(members=90, days=16, sales_a_day=8, task="endless"))


@pytest.fixture(scope="session")
def trained(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best checkpoint of a small training."""
    return train(job(shop, tmp_path_factory.mktemp("trained")))
