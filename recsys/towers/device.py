"""Where towers are trained: device, threads, precision."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import assert_never

import torch

from recsys.domain.errors import DeviceError, SettingError
from recsys.towers.spec import Auto, Cpu, Ddp, Gpu, Trainer


@dataclass(frozen=True)
class Device:
    """A device that is there, and how to compute on it."""

    kind: str
    """cpu or cuda."""
    processes: int
    threads: int
    """Of each process; on a CPU one more makes the next batch."""
    low: bool
    """bfloat16 operands for scores and MLPs, whose gradients are such products too; weights, and
    what they are moved by, are float32."""
    fuses: bool = False
    """It can compile passes over memory into one: a GPU with Triton and a C compiler."""


def resolve(trainer: Trainer) -> Device:
    """Find the device that the settings ask for.

    Raises:
        DeviceError: it is not on this machine.
        SettingError: fp16 on a CPU.
    """
    kind, processes = _kind(trainer)
    if kind == "cpu" and trainer.precision == "fp16":
        raise SettingError(
            "trainer.precision=fp16 on a CPU: a CPU computes it 20 to 50 times slower than fp32",
            "possible on a CPU: auto, fp32, bf16",
            "set trainer.precision=auto, or train on a GPU with trainer=gpu",
        )
    # a core of each process makes its next batch
    free = cores() if kind == "cuda" else cores() // processes - 1
    threads = trainer.threads or max(1, free)
    native = kind == "cuda" or _native_bf16()
    low = trainer.precision in {"bf16", "fp16"} or (trainer.precision == "auto" and native)
    return Device(kind, processes, threads, low, kind == "cuda" and _compiles())


def _compiles() -> bool:
    compilers = (os.environ.get("CC", "cc"), "gcc", "clang")
    return find_spec("triton") is not None and any(map(which, compilers))


def _native_bf16() -> bool:
    """Whether the CPU computes bfloat16 itself; emulated it is 20 to 50 times slower."""
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def _kind(trainer: Trainer) -> tuple[str, int]:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    match trainer:
        case Auto():
            return ("cuda" if gpus else "cpu"), 1
        case Cpu():
            return "cpu", 1
        case Gpu():
            return _gpu(1, gpus), 1
        case Ddp(processes=processes, device="auto"):
            return ("cuda" if gpus >= processes else "cpu"), processes
        case Ddp(processes=processes, device=device):
            return (_gpu(processes, gpus) if device == "gpu" else "cpu"), processes
        case _:
            assert_never(trainer)


def _gpu(wanted: int, found: int) -> str:
    if found < wanted:
        raise DeviceError(
            f"{wanted} GPU wanted, {found} found by torch {torch.__version__}",
            "this torch was built without CUDA" if torch.version.cuda is None else "see nvidia-smi",
            "train on the CPU: trainer=cpu",
        )
    return "cuda"


def cores() -> int:
    """Return how many CPU threads help: physical cores, as far as this process may use them."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(torch.get_num_threads(), allowed or 1, _quota()))


def _quota() -> int:
    """Return the cores a container's quota allows, rounded up; a large number without one."""
    unlimited = 1 << 20
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return unlimited
    return unlimited if quota == "max" else max(1, -(-int(quota) // int(period)))
