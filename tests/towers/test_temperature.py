from __future__ import annotations

import pytest
import torch

from recsys.towers.spec import TwoTower
from tests.towers.shops import SMALL, Shop


def test_the_temperature_starts_as_asked_and_stays_within_bounds(shop: Shop) -> None:
    net = shop.net(SMALL.model_copy(update={"tau_low": 0.05}))
    assert float(net.tau.detach()) == pytest.approx(SMALL.tau)
    with torch.no_grad():
        net.log_tau.fill_(-9)
    assert float(net.tau.detach()) == pytest.approx(0.05)
    with torch.no_grad():
        net.log_tau.fill_(9)
    assert float(net.tau.detach()) == pytest.approx(0.5)


def test_a_temperature_below_its_lowest_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tau 0.07 starts below tau_low 0.1"):
        TwoTower(tau_low=0.1)
