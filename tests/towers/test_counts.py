from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recsys.domain.errors import SettingError
from recsys.towers import counts
from recsys.towers.counts import Choice
from recsys.towers.fit import fit
from recsys.towers.sale import SaleTower
from recsys.towers.spec import TwoTower
from recsys.towers.two_tower import TwoTowerNet
from tests.towers.following import newest, state_of, stopped_at
from tests.towers.shops import SMALL, Shop, job

FIRST = SMALL.model_copy(update={"epochs": 2, "counts": "first"})


@torch.no_grad()
def loss(net: TwoTowerNet, shop: Shop) -> float:
    found = counts._choices(net, shop.resident, shop.blocks.towers)
    said = [net.sale_tower.counted(one.as_of)[:, 0].log_softmax(dim=0) for one in found]
    return -sum(float((one.share * by).sum()) for one, by in zip(found, said, strict=True)) / len(
        found
    )


def test_counts_alone_come_to_the_popularity_that_outcomes_were_drawn_by() -> None:
    source = torch.Generator().manual_seed(3)
    tower = SaleTower(TwoTower(dim=8))

    def choice() -> Choice:
        x = torch.randn(60, 4, generator=source)
        return Choice(x, (1.5 * x[:, 1] - 0.7 * x[:, 2] + 0.4 * x[:, 1] ** 2).softmax(dim=0))

    counts._fit(tower, [choice() for _ in range(40)], seed=1)
    fresh = choice()
    found = tower.counted(fresh.as_of)[:, 0].softmax(dim=0).detach()
    apart = float((fresh.share * (fresh.share / found).log()).sum())
    uniform = float((fresh.share * (fresh.share * 60).log()).sum())
    assert apart < 0.001 * uniform


def test_what_was_popular_is_learned_on_the_shelves_of_training_and_stays(
    shop: Shop, tmp_path: Path
) -> None:
    before, net = shop.net(FIRST), shop.net(FIRST)
    counts.learn(net, shop.resident, shop.blocks.towers)
    assert loss(net, shop) < loss(before, shop) - 0.01
    alike = shop.net(FIRST)
    counts.learn(alike, shop.resident, shop.blocks.towers)
    trained = state_of(fit(job(shop, tmp_path, FIRST)))
    names = [name for name in net.state_dict() if "as_of" in name]
    assert len(names) == 6
    for name in names:
        assert torch.equal(net.state_dict()[name], alike.state_dict()[name])
        assert torch.equal(net.state_dict()[name], trained["net"][name])
        assert torch.equal(net.state_dict()[name], trained["averaged"][name])
    assert not torch.equal(
        before.sale_tower.content_bias, trained["net"]["sale_tower.content_bias"]
    )


def test_together_they_move_with_all_else(shop: Shop, tmp_path: Path) -> None:
    together = FIRST.model_copy(update={"counts": "together"})
    trained = state_of(fit(job(shop, tmp_path, together)))["net"]
    assert not torch.equal(
        trained["sale_tower.as_of_bias"], shop.net(together).sale_tower.as_of_bias
    )


def test_on_many_long_shelves_some_are_looked_at(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = shop.net(FIRST)
    whole = counts._choices(net, shop.resident, shop.blocks.towers)
    monkeypatch.setattr(counts, "_CELLS", 3 * max(len(one.share) for one in whole))
    some = counts._choices(net, shop.resident, shop.blocks.towers)
    assert 3 <= len(some) < len(whole)
    for one in whole:
        assert float(one.share.sum()) == pytest.approx(1, abs=1e-5)


def test_a_set_whose_counts_hold_the_outcomes_is_refused(shop: Shop, tmp_path: Path) -> None:
    asked = job(shop, tmp_path, FIRST)
    sets = replace(asked.train, hidden_share=0.5)
    with pytest.raises(SettingError, match="its counts hold the outcomes"):
        fit(replace(asked, train=sets))


def test_a_run_that_goes_on_keeps_what_it_learned_and_learns_it_once(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, learned = job(shop, tmp_path, FIRST), list[int]()
    plain = counts.learn

    def noted(*given: Any) -> None:
        learned.append(1)
        plain(*given)

    monkeypatch.setattr(counts, "learn", noted)
    stopped_at(asked, 5, monkeypatch)
    before = state_of(newest(asked))["net"]["sale_tower.as_of_bias"]
    after = state_of(fit(asked))["net"]["sale_tower.as_of_bias"]
    assert torch.equal(before, after)
    assert len(learned) == 1


def test_a_warm_start_learns_counts_anew(shop: Shop, tmp_path: Path) -> None:
    part = shop.blocks.towers
    early = part.take(np.flatnonzero(part.at < np.median(part.at)))
    together = FIRST.model_copy(update={"counts": "together"})
    first = fit(replace(job(shop, tmp_path / "first", together), train=early))
    later = state_of(fit(replace(job(shop, tmp_path / "later", FIRST), warm=first)))
    net = shop.net(FIRST)
    counts.learn(net, shop.resident, part)
    # from another start, so near and not the same
    assert loss(net, shop) == pytest.approx(_loss_of(later["net"], net, shop), abs=0.02)
    assert torch.equal(
        later["net"]["sale_tower.as_of_bias"], later["averaged"]["sale_tower.as_of_bias"]
    )


def _loss_of(weights: dict[str, torch.Tensor], net: TwoTowerNet, shop: Shop) -> float:
    own = {name: value for name, value in weights.items() if name.startswith("sale_tower.")}
    net.sale_tower.load_state_dict({k.removeprefix("sale_tower."): v for k, v in own.items()})
    return loss(net, shop)
