from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from recsys.towers.spec import Causal, Encoder, Loss, Sampled, Trainer, TwoTower


@pytest.mark.parametrize("module", ["recsys.towers", "recsys.towers.job", "recsys.towers.spec"])
def test_settings_and_jobs_are_read_without_torch(module: str) -> None:
    heavy = "{'torch', 'pytorch_lightning', 'safetensors'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "settings",
    [
        {"tau": 1.0},
        {"tau": 0.01},
        {"dim": 3},
        {"history": 0},
        {"event_dropout": 1.0},
        {"id": "on"},
        {"ema": 1.0},
        {"rate": 0.0},
        {"delta": -0.1},
        {"speed": 3},
        {"sharpness": 0.0},
        {"top_k": -1},
        {"top_k_tau": 0.0},
        {"dim": 16, "matryoshka": (16,)},
        {"dim": 16, "matryoshka": (4, 8)},
        {"dim": 16, "matryoshka": (3,)},
        {"encoder": {"kind": "recurrent"}},
        {"encoder": {"kind": "causal", "blocks": 5}},
        {"encoder": {"kind": "causal", "gap_buckets": 1}},
        {"dim": 16, "encoder": {"kind": "causal", "heads": 3}},
        {"loss": {"kind": "triplet"}},
        {"loss": {"kind": "sampled", "in_batch": 0, "uniform": 0}},
        {"loss": {"kind": "live_shelf", "archive_share": 1.0}},
    ],
)
def test_settings_out_of_bounds_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TwoTower.model_validate(settings)


def test_a_cpu_refuses_fp16_in_its_settings() -> None:
    trainer: TypeAdapter[object] = TypeAdapter(Trainer)
    with pytest.raises(ValidationError):
        trainer.validate_python({"kind": "cpu", "precision": "fp16"})


@pytest.mark.parametrize(
    "adapter",
    [TypeAdapter[object](Trainer), TypeAdapter[object](Loss), TypeAdapter[object](Encoder)],
    ids=["trainer", "loss", "encoder"],
)
def test_a_kind_unheard_of_is_refused_with_those_possible(adapter: TypeAdapter[object]) -> None:
    with pytest.raises(ValidationError, match="kind"):
        adapter.validate_python({"kind": "unheard of"})


def test_settings_survive_json() -> None:
    towers = TwoTower(
        dim=16,
        loss=Sampled(in_batch=3, uniform=4),
        encoder=Causal(blocks=1, heads=4),
        matryoshka=(8, 4),
    )
    assert TwoTower.model_validate_json(towers.model_dump_json()) == towers
