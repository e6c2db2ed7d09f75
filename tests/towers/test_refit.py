from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recsys.data.requests import blocks
from recsys.domain.source import Source
from recsys.towers import widen
from recsys.towers.device import resolve
from recsys.towers.fit import fit
from recsys.towers.job import Chosen, TowerJob
from recsys.towers.memory import need
from recsys.towers.spec import Cpu, Ddp, Spectral, TwoTower
from tests.towers.following import assert_same_bits, killed_at, newest, state_of
from tests.towers.shops import GENTLE, Shop, job

FOUR = TwoTower(
    dim=8,
    epochs=4,
    rate=0.5,
    table_rate=1.0,
    patience=0,
    balance=(1.0, 2.0, 4.0),
    refit=True,
)
"""At rates so high the later epochs are worse, and an earlier one is chosen."""


def twice(shop: Shop, folder: Path, towers: TwoTower = FOUR) -> TowerJob:
    """A training whose validation joins it once it has chosen."""
    cut = blocks(shop.dataset, Source(outcome_hours=24), refit=True)
    assert cut.refit is not None
    return replace(job(shop, folder, towers), refit=cut.refit)


@pytest.fixture(scope="module")
def whole(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> tuple[TowerJob, Path, list[str]]:
    """What nothing interrupted, where it came to, and what it said."""
    said: list[str] = []
    asked = replace(twice(shop, tmp_path_factory.mktemp("whole")), tell=said.append)
    return asked, fit(asked), said


def test_the_second_training_does_what_the_first_chose_on_all_days(
    shop: Shop, whole: tuple[TowerJob, Path, list[str]], tmp_path: Path
) -> None:
    asked, found, said = whole
    first = fit(replace(asked, refit=None))
    place, weights = state_of(first)["place"], state_of(first)["averaged"]
    chosen = Chosen(place["epoch"], float(weights["sale_tower.loudness"]), weight=0.0)
    assert chosen.epochs < FOUR.epochs
    assert found.parent == asked.checkpoints / "refit"
    assert asked.refit is not None
    alone = replace(job(shop, tmp_path, FOUR), train=asked.refit, chosen=chosen)
    assert_same_bits(found, fit(alone))
    state = state_of(found)
    assert state["place"]["epoch"] == chosen.epochs
    assert state["averaged"]["sale_tower.loudness"] == weights["sale_tower.loudness"]
    assert state["until"] > state_of(first)["until"]
    epochs = f"{chosen.epochs} epoch" + "s" * (chosen.epochs > 1)
    assert said[0] == f"  refit    {epochs} on {len(asked.refit):,} requests, validation included"
    assert [line.split(",")[0] for line in said[1:]] == [
        f"  refit    epoch {n + 1} of {chosen.epochs}" for n in range(chosen.epochs)
    ]


def test_a_run_killed_in_the_second_goes_on_in_it_to_the_same_bits(
    shop: Shop,
    whole: tuple[TowerJob, Path, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = twice(shop, tmp_path)
    asked = replace(asked, trainer=Cpu(threads=1, save_every_steps=5))
    fit(replace(asked, refit=None))

    killed_at(asked, 8, monkeypatch)
    assert newest(replace(asked, chosen=Chosen(1, 1.0, 0.0))).name == "step-00000005"
    epochs: list[int] = []
    found = fit(replace(asked, on_epoch=lambda row: epochs.append(row.epoch)))
    assert not epochs
    assert_same_bits(found, whole[1])


def test_spectral_coordinates_are_fitted_on_all_days_with_the_weight_chosen(
    endless: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widen, "_chosen", lambda *_: (0.5, [(0.0, 0.1), (0.5, 0.2)]))
    wide = FOUR.model_copy(update={"epochs": 2, "spectral": Spectral(rank=5)})
    asked = twice(endless, tmp_path, wide)
    first, found = fit(replace(asked, refit=None)), fit(asked)
    before, after = state_of(first)["spectral"], state_of(found)["spectral"]
    assert found.name.startswith("spectral-step-")
    assert (before["weight"], before["tried"][1]) == (0.5, [0.5, 0.2])
    assert (after["weight"], after["tried"]) == (0.5, [])
    assert (after["sale"] != 0).any(dim=1).sum() >= (before["sale"] != 0).any(dim=1).sum()
    assert after["past"].shape == before["past"].shape
    assert not (after["past"] == before["past"]).all()


@pytest.mark.slow
def test_two_processes_refit_what_one_refits(
    endless: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = GENTLE.model_copy(update={"epochs": 1, "balance": (1.0,), "spectral": Spectral(rank=5)})
    alone = replace(
        twice(endless, tmp_path / "one", wide), trainer=Cpu(threads=1, precision="fp32")
    )
    two = Ddp(processes=2, device="cpu", precision="fp32", threads=1)
    said: list[str] = []
    together = replace(twice(endless, tmp_path / "two", wide), trainer=two, tell=said.append)
    one, other = fit(alone), fit(together)
    assert one.name == other.name
    assert one.parent.name == other.parent.name == "refit"
    assert [line for line in said if "refit    epoch 1 of 1" in line]
    mine, theirs = state_of(one), state_of(other)
    # softmax is blind to what all scores share: its gradient is rounding, blown up by Adam
    names = mine["averaged"].keys() - {"sale_tower.base_bias"}
    for name in names:
        torch.testing.assert_close(
            theirs["averaged"][name], mine["averaged"][name], rtol=0, atol=1e-5
        )
    torch.testing.assert_close(theirs["spectral"]["past"], mine["spectral"]["past"])


def test_the_memory_said_is_that_of_the_larger_training(shop: Shop, tmp_path: Path) -> None:
    asked, device = twice(shop, tmp_path), resolve(Cpu(threads=1))
    once = need(replace(asked, refit=None), device).parts["data"]
    assert need(asked, device).parts["data"] > once
