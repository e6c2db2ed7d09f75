from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recsys.domain.errors import (
    SettingError,
)
from recsys.towers import clerk
from recsys.towers.fit import EpochRow, TowerJob, fit
from recsys.towers.monitor import Score
from recsys.towers.spec import Causal, Cpu, TwoTower
from tests.towers.following import (
    TWO,
    Steps,
    assert_same_bits,
    killed_at,
    newest,
    state_of,
    stopped_at,
    total,
)
from tests.towers.shops import ENCODERS, Shop, job, named, with_encoder


@pytest.fixture(scope="module")
def whole(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> TowerJob:
    """A training that nothing interrupted."""
    asked = job(shop, tmp_path_factory.mktemp("whole"), TWO)
    fit(asked)
    return asked


@pytest.fixture(scope="module", params=ENCODERS, ids=named)
def either(
    shop: Shop, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> TowerJob:
    """The same with each encoder."""
    asked = job(shop, tmp_path_factory.mktemp("either"), with_encoder(TWO, request.param))
    fit(asked)
    return asked


@pytest.mark.parametrize(("epochs", "more"), [(0, 1), (0, 7), (1, 0), (1, 5)])
def test_a_run_stopped_at_any_step_goes_on_to_the_same_bits(
    shop: Shop,
    either: TowerJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epochs: int,
    more: int,
) -> None:
    asked = job(shop, tmp_path, either.towers)
    step = epochs * total(either) // 2 + more
    stopped_at(asked, step, monkeypatch)
    assert total(asked) == step
    torch.manual_seed(step)  # whatever another process drew before
    best = fit(asked)
    assert_same_bits(newest(asked), newest(either))
    assert_same_bits(best, either.checkpoints / best.name)


def test_a_killed_run_goes_on_from_its_last_save_to_the_same_bits(
    shop: Shop, whole: TowerJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(job(shop, tmp_path, TWO), trainer=Cpu(threads=1, save_every_steps=5))

    killed_at(asked, 8, monkeypatch)
    assert newest(asked).name == "step-00000005"
    fit(asked)
    assert_same_bits(newest(asked), newest(whole))


def test_a_run_of_the_same_seed_has_the_same_bits_and_another_has_not(
    shop: Shop, whole: TowerJob, tmp_path: Path
) -> None:
    again = job(shop, tmp_path / "again", TWO)
    fit(again)
    assert_same_bits(newest(again), newest(whole))
    other = replace(job(shop, tmp_path / "other", TWO), seed=2)
    fit(other)
    assert not torch.equal(
        state_of(newest(other))["net"]["table"], state_of(newest(whole))["net"]["table"]
    )


def test_a_damaged_newest_checkpoint_is_named_and_stepped_over(
    shop: Shop, whole: TowerJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(job(shop, tmp_path, TWO), trainer=Cpu(threads=1, save_every_steps=4))
    stopped_at(asked, 6, monkeypatch)
    damaged = newest(asked) / "tensors.safetensors"
    assert damaged.parent.name == "step-00000006"
    damaged.write_bytes(b"\0" + damaged.read_bytes()[1:])
    told: list[str] = []
    with monkeypatch.context() as patched:
        steps = Steps(patched, lambda _: None)
        fit(replace(asked, tell=told.append))
    assert [str(damaged) in line for line in told] == [True]
    assert steps.done == total(whole) - 4
    assert_same_bits(newest(asked), newest(whole))


def test_a_checkpoint_of_other_settings_or_data_is_not_gone_on_with(
    shop: Shop, whole: TowerJob
) -> None:
    others: dict[str, TowerJob] = {
        r"(?s)its spec is another.*dim=8, wanted 16": replace(
            whole, towers=TwoTower(dim=16, epochs=2)
        ),
        r"(?s)its spec is another.*'pooled'.*wanted.*'causal'": replace(
            whole, towers=with_encoder(TWO, Causal())
        ),
        r"(?s)its seed is another.*found 1, wanted 2": replace(whole, seed=2),
        r"(?s)its data is another": replace(whole, data_fingerprint="0" * 16),
        r"(?s)its encoders is another": replace(
            whole, encoded=replace(shop.encoded, fingerprint="f" * 16)
        ),
    }
    for message, asked in others.items():
        with pytest.raises(SettingError, match=message):
            fit(asked)


def test_a_finished_run_gives_its_best_at_once(
    whole: TowerJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(monkeypatch, lambda _: None)
    best = fit(whole)
    assert steps.done == 0
    assert best.name == state_of(newest(whole))["place"]["best_name"]


def test_a_run_goes_on_with_a_checkpoint_that_lies_elsewhere(
    shop: Shop, whole: TowerJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_at(job(shop, tmp_path / "one", TWO), total(whole) - 2, monkeypatch)
    elsewhere = newest(job(shop, tmp_path / "one", TWO))
    asked = replace(job(shop, tmp_path / "two", TWO), resume=elsewhere)
    best = fit(asked)
    assert_same_bits(newest(asked), newest(whole))
    assert_same_bits(best, whole.checkpoints / best.name)
    finished = replace(job(shop, tmp_path / "three", TWO), resume=newest(whole))
    best = fit(finished)
    assert best.parent == whole.checkpoints
    assert best.exists()


def test_a_run_tells_of_each_epoch_and_returns_the_best(shop: Shop, tmp_path: Path) -> None:
    rows: list[EpochRow] = []
    asked = replace(job(shop, tmp_path), on_epoch=rows.append)
    best = fit(asked)
    assert [row.epoch for row in rows] == list(range(1, len(rows) + 1))
    headlines = [row.day0_ndcg_at_10 for row in rows]
    best_so_far = [h > max(headlines[:n], default=-1) for n, h in enumerate(headlines)]
    assert [row.best for row in rows] == best_so_far
    assert best.name.endswith(f"epoch-{headlines.index(max(headlines)) + 1:04d}")
    assert rows[-1].loss < rows[0].loss
    assert all(row.requests_per_second > 0 and 0 < row.seconds < 60 for row in rows)
    kept = {folder.name for folder in asked.checkpoints.glob("step-*")}
    assert len(kept) <= 3
    assert {best.name, newest(asked).name} <= kept


def test_a_run_stops_when_nothing_gets_better(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = Score(0.5, 0.5, 0.5, 9.0, 0.1)
    monkeypatch.setattr(clerk, "balance", lambda *_, **__: (1.0, same))
    rows: list[EpochRow] = []
    spec = TwoTower(dim=8, epochs=9, patience=2)
    best = fit(replace(job(shop, tmp_path, spec), on_epoch=rows.append))
    assert [row.best for row in rows] == [True, False, False]
    assert best.name.endswith("epoch-0001")


def test_a_checkpoint_keeps_temperature_averages_and_every_setting(whole: TowerJob) -> None:
    state = state_of(newest(whole))
    assert TwoTower.model_validate(state["meta"]["spec"]) == TWO
    start, tau, averaged = (
        torch.tensor(math.log(TWO.tau)),
        state["net"]["log_tau"],
        state["averaged"]["log_tau"],
    )
    assert not torch.equal(tau, start)
    assert not torch.equal(averaged, start)
    assert not torch.equal(averaged, tau)
    assert {t.dtype for t in state["net"].values()} == {torch.float32}
    assert state["adam"]["state"]
    moments = [v for s in state["adam"]["state"].values() for v in s.values()]
    assert {moment.dtype for moment in moments} == {torch.float32}


def test_nothing_on_disk_can_run_code(whole: TowerJob) -> None:
    kinds = {file.suffix for file in whole.folder.rglob("*") if file.is_file()}
    assert kinds - {"", ".lock"} == {".safetensors", ".json"}
