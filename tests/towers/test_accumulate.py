from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recsys.domain.errors import SettingError
from recsys.towers.batches import Chunk, Sampler, pieces
from recsys.towers.device import resolve
from recsys.towers.fit import TowerJob, fit, prepare
from recsys.towers.softmax import chunked_softmax
from recsys.towers.spec import AutoLoss, Cpu, Ddp, Loss, Sampled, TwoTower
from tests.towers.following import assert_same_bits, flat, newest, state_of, stopped_at
from tests.towers.shops import GENTLE, Shop, job, shaken

POOL = Sampled(in_batch=8, uniform=12)
BLIND = {"sale_tower.base_bias"}
"""Softmax is blind to what all scores share: its gradient is rounding."""


def spec(loss: Loss, groups: int) -> TwoTower:
    update = {"loss": loss, "groups_per_batch": groups, "rows_per_group": 16}
    return GENTLE.model_copy(update=update)


def asked(shop: Shop, folder: Path, loss: Loss, *, number: int, groups: int) -> TowerJob:
    machine = Cpu(threads=1, precision="fp32", accumulate=number)
    return replace(job(shop, folder, spec(loss, groups)), trainer=machine)


def gradients(job: TowerJob) -> list[dict[str, Tensor]]:
    """Return the gradients of the first three steps and of the last one, from the same weights."""
    training = prepare(job, resolve(job.trainer))
    shaken(training.net)
    number, found = job.trainer.accumulate, []
    batches = list(training.feed)
    steps = len(batches) // number
    for step in (0, 1, 2, steps - 1):
        training.place.step = step
        training.net.zero_grad()
        for batch in batches[step * number : (step + 1) * number]:
            loss = training.training_step(batch, 0) / number
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        found.append({
            name: p.grad.clone()
            for name, p in training.net.named_parameters()
            if p.grad is not None
        })
    return found


@pytest.mark.parametrize("loss", [AutoLoss(), POOL])
@pytest.mark.parametrize("number", [2, 3, 6])
def test_micro_steps_have_the_gradient_of_one_step_so_many_times_as_large(
    shop: Shop, tmp_path: Path, loss: Loss, number: int
) -> None:
    whole = gradients(asked(shop, tmp_path, loss, number=1, groups=6))
    parts = gradients(asked(shop, tmp_path, loss, number=number, groups=6 // number))
    for one, several in zip(whole, parts, strict=True):
        assert one.keys() == several.keys()
        length = torch.cat([g.flatten() for g in one.values()]).norm()
        apart = torch.cat([(several[n] - g).flatten() for n, g in one.items()]).norm()
        assert apart < 1e-5 * length


def test_a_step_is_dealt_out_whole() -> None:
    step = [Chunk(n, np.arange(n, n + 3)) for n in range(5)]
    dealt = pieces(step, 3)
    assert sorted(chunk.group for piece in dealt for chunk in piece) == [0, 1, 2, 3, 4]
    assert pieces(step, 1) == [step]
    few = pieces(step[:2], 4)
    assert [sum(len(chunk.rows) for chunk in piece) for piece in few] == [3, 3, 0, 0]


@pytest.mark.parametrize("loss", [AutoLoss(), POOL])
def test_a_training_in_micro_steps_ends_where_one_in_large_steps_does(
    shop: Shop, tmp_path: Path, loss: Loss
) -> None:
    one = asked(shop, tmp_path / "one", loss, number=1, groups=6)
    several = asked(shop, tmp_path / "several", loss, number=3, groups=2)
    assert fit(one).name == fit(several).name
    (mine, theirs) = (state_of(newest(job)) for job in (several, one))
    assert mine["place"]["total"] == theirs["place"]["total"]
    assert mine["place"]["loss"] == pytest.approx(theirs["place"]["loss"], rel=1e-5)
    for name, weight in theirs["net"].items():
        if name not in BLIND:
            torch.testing.assert_close(mine["net"][name], weight, rtol=0, atol=2e-5)


@pytest.mark.parametrize("step", [1, 3])
def test_one_stopped_in_the_middle_goes_on_to_the_same_bits(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    whole, stopped = (
        asked(shop, tmp_path / name, POOL, number=3, groups=2) for name in ("whole", "stopped")
    )
    fit(whole)
    # in the second of three micro-steps: the step is done before anything is saved
    stopped_at(stopped, 3 * step - 1, monkeypatch)
    assert state_of(newest(stopped))["place"]["total"] == step
    fit(stopped)
    assert_same_bits(newest(stopped), newest(whole))


def test_a_bad_micro_step_costs_its_step_alone(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, calls = chunked_softmax, [0]

    def once(*args: Any, **kwargs: Any) -> Tensor:
        calls[0] += 1
        loss = plain(*args, **kwargs)
        return loss * torch.nan if calls[0] == 5 else loss

    monkeypatch.setattr("recsys.towers.lightning.chunked_softmax", once)
    job = asked(shop, tmp_path, POOL, number=3, groups=2)
    fit(job)
    state = state_of(newest(job))
    assert state["place"]["bad"] == [(0, 1)]
    assert all(torch.isfinite(leaf).all() for leaf in flat(state["net"]).values())


def test_another_number_of_micro_steps_does_not_go_on_with_it(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = asked(shop, tmp_path, POOL, number=3, groups=2)
    stopped_at(job, 2, monkeypatch)
    with pytest.raises(SettingError, match="its accumulate is another"):
        fit(replace(job, trainer=Cpu(threads=1, precision="fp32")))


def test_small_sets_get_enough_steps_of_micro_steps_too(shop: Shop) -> None:
    one = Sampler.of(shop.blocks.towers, TwoTower(groups_per_batch=6), 1)
    several = Sampler.of(shop.blocks.towers, TwoTower(groups_per_batch=2), 1, accumulate=3)
    assert one == several


@pytest.mark.slow
def test_two_processes_in_micro_steps_learn_what_one_learns(shop: Shop, tmp_path: Path) -> None:
    one = asked(shop, tmp_path / "one", POOL, number=2, groups=2)
    machine = Ddp(processes=2, device="cpu", threads=1, precision="fp32", accumulate=2)
    two = replace(one, folder=tmp_path / "two", trainer=machine)
    assert fit(one).name == fit(two).name
    mine, theirs = (state_of(newest(job))["net"] for job in (two, one))
    for name in theirs.keys() - BLIND:
        torch.testing.assert_close(mine[name], theirs[name], rtol=0, atol=1e-5)
