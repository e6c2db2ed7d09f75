from __future__ import annotations

import pytest
import torch

from recsys.domain.errors import DeviceError, SettingError
from recsys.towers import device
from recsys.towers.device import resolve
from recsys.towers.spec import Auto, Cpu, Ddp, Gpu


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No GPU, until a test says otherwise."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    return monkeypatch


def found(gpus: pytest.MonkeyPatch, number: int) -> None:
    gpus.setattr(torch.cuda, "is_available", lambda: True)
    gpus.setattr(torch.cuda, "device_count", lambda: number)


@pytest.mark.parametrize("trainer", [Auto(precision="fp16"), Ddp(precision="fp16")])
def test_fp16_is_refused_where_the_machine_turns_out_a_cpu(
    gpus: pytest.MonkeyPatch, trainer: Auto | Ddp
) -> None:
    with pytest.raises(SettingError, match=r"(?s)fp16 on a CPU.*trainer\.precision=auto"):
        resolve(trainer)
    found(gpus, 2)
    assert resolve(trainer).low


@pytest.mark.parametrize("trainer", [Gpu(), Ddp(device="gpu")])
def test_a_gpu_that_is_not_there_is_missed(gpus: pytest.MonkeyPatch, trainer: Gpu | Ddp) -> None:
    with pytest.raises(DeviceError, match=r"(?s)GPU wanted, 0 found.*trainer=cpu"):
        resolve(trainer)


def test_one_gpu_is_too_few_for_two_processes(gpus: pytest.MonkeyPatch) -> None:
    found(gpus, 1)
    with pytest.raises(DeviceError, match="2 GPU wanted, 1 found"):
        resolve(Ddp(device="gpu"))
    assert resolve(Ddp()).kind == "cpu"
    assert resolve(Auto()).kind == "cuda"


def test_bf16_is_chosen_only_where_the_cpu_computes_it(gpus: pytest.MonkeyPatch) -> None:
    for native in (False, True):
        gpus.setattr(device, "_native_bf16", lambda native=native: native)
        assert resolve(Cpu()).low is native
        assert not resolve(Cpu(precision="fp32")).low
        assert resolve(Cpu(precision="bf16")).low


def test_threads_are_those_asked_for_or_shared_by_the_processes(gpus: pytest.MonkeyPatch) -> None:
    found(gpus, 1)
    gpus.setattr(device, "cores", lambda: 8)
    assert resolve(Cpu(threads=3)).threads == 3
    assert resolve(Gpu()).threads == 8
    # a core of each process makes its next batch
    assert resolve(Cpu()).threads == 7
    assert resolve(Ddp(processes=3, device="cpu")).threads == 1
    assert resolve(Ddp(processes=99)).threads == 1
