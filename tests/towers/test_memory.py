from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys.domain.errors import NoRoomError
from recsys.towers import memory
from recsys.towers.batches import Assembler
from recsys.towers.device import Device, resolve
from recsys.towers.fit import prepare
from recsys.towers.memory import Need, need
from recsys.towers.resident import Resident
from recsys.towers.spec import Causal, Cpu, Encoder, Full, Loss, Sampled, TwoTower
from tests.towers.shops import ENCODERS, Shop, job, named, with_encoder

ONE = Device("cpu", 1, 1, low=False)
GPU = Device("cuda", 1, 1, low=True)


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (100 << 30, 141 << 30))


def held(thing: Any) -> int:
    """Count the bytes of all tensors of a thing."""
    match thing:
        case Tensor():
            return thing.numel() * thing.element_size()
        case tuple():
            return sum(map(held, thing))
        case _ if hasattr(thing, "__dataclass_fields__"):
            return sum(held(getattr(thing, one.name)) for one in fields(thing))
        case _:
            return 0


@pytest.mark.parametrize("encoder", ENCODERS, ids=named)
@pytest.mark.parametrize("own", ["bounded", "off"])
def test_weights_moments_and_averages_are_counted_to_the_byte(
    shop: Shop, tmp_path: Path, encoder: Encoder, own: str
) -> None:
    spec = with_encoder(TwoTower.model_validate({"dim": 16, "id": own}), encoder)
    asked = job(shop, tmp_path, spec)
    parts, training = need(asked, ONE).parts, prepare(asked, resolve(Cpu()))
    size = sum(held(p.data) for p in training.net.parameters())
    assert parts["weights"] == parts["gradients"] == parts["averages"] == size
    assert parts["moments"] == 2 * size


def test_large_tables_have_two_numbers_a_row_and_no_gradient(shop: Shop, tmp_path: Path) -> None:
    asked = job(shop, tmp_path, TwoTower(dim=16, rows_above=1))
    parts, training = need(asked, ONE).parts, prepare(asked, resolve(Cpu()))
    assert parts["gradients"] == sum(map(held, training.dense))
    two = sum(held(rows.total) + held(rows.seen) for rows in training.rows)
    assert parts["moments"] == 2 * parts["gradients"] + two
    assert parts["a step"] > need(job(shop, tmp_path, TwoTower(dim=16)), ONE).parts["a step"]


@pytest.mark.parametrize("hours", [(24.0,), (1.0, 24.0)])
def test_data_are_counted_within_a_twelfth(
    shop: Shop, tmp_path: Path, hours: tuple[float, ...]
) -> None:
    asked = job(shop, tmp_path, TwoTower(dim=16, popularity_hours=hours))
    feed = prepare(asked, resolve(Cpu())).feed
    assembler: Assembler = feed.assembler
    resident: Resident = assembler.resident
    planner = assembler.planner
    there = held(resident) + held(planner.board) + held(planner.share) + held(assembler.lately)
    assert need(asked, ONE).parts["data"] == pytest.approx(there, rel=0.08)


@pytest.mark.parametrize("loss", [TwoTower().loss, Full(), Sampled()])
def test_a_step_takes_more_with_more_rows_and_less_in_micro_steps(
    shop: Shop, tmp_path: Path, loss: Loss
) -> None:
    def step(rows: int, *, number: int = 1) -> int:
        asked = job(shop, tmp_path, TwoTower(dim=16, rows_per_group=rows, loss=loss))
        machine = Cpu(accumulate=number)
        return memory._step(replace(asked, trainer=machine), by_rows=False)

    assert step(4) < step(12)
    assert step(4, number=4) == step(4)


def test_processes_on_a_cpu_share_its_memory_and_a_gpu_copies_no_save(
    shop: Shop, tmp_path: Path, a_gpu: None
) -> None:
    asked = job(shop, tmp_path, TwoTower(dim=256))
    one, two = (need(asked, Device("cpu", n, 1, low=False)).parts for n in (1, 2))
    assert two["moments"] == 2 * one["moments"]
    gpu = need(asked, GPU)
    assert "a save" not in gpu.parts
    assert gpu.parts["moments"] == one["moments"]
    assert gpu.room == 141 << 30
    assert 0 < need(asked, ONE).free <= need(asked, ONE).room


def test_it_is_said_largest_first_and_refused_where_the_device_has_less() -> None:
    parts = {"weights": 600 << 20, "data": 1 << 20, "moments": 1200 << 20, "a step": 99 << 20}
    fits = Need(parts, free=100 << 30, room=141 << 30, kind="cuda")
    assert fits.lines == (
        "about 1.9 GB of 141.0 GB (cuda)",
        "moments 1.2 GB, weights 600 MB, a step 99 MB,",
        "data 1 MB",
    )
    fits.fits()
    small = replace(fits, free=1 << 30, room=2 << 30)
    with pytest.raises(
        NoRoomError, match=r"(?s)1\.9 GB of 2\.0 GB.*moments takes most.*towers\.dim"
    ):
        small.fits()


def test_every_part_has_advice(shop: Shop, tmp_path: Path, a_gpu: None) -> None:
    for spec in (TwoTower(dim=16), TwoTower(dim=512), with_encoder(TwoTower(dim=16), Causal())):
        for device in (ONE, GPU):
            assert need(job(shop, tmp_path, spec), device).parts.keys() <= memory._LEVERS.keys()


def test_a_quota_is_less_than_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory._within_quota(80, 100, tmp_path) == (80, 100)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("30\n")
    assert memory._within_quota(80, 100, tmp_path) == (80, 100)
    (tmp_path / "memory.max").write_text("50\n")
    assert memory._within_quota(80, 100, tmp_path) == (20, 50)
