from __future__ import annotations

import json
import logging
import math
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recsys.domain.artefact import DISK
from recsys.domain.errors import (
    DataRefusedError,
    DeviceError,
    DivergedError,
    InterruptedRunError,
    NoRoomError,
    SettingError,
)
from recsys.domain.requests import Requests
from recsys.domain.stop import StopFlag
from recsys.towers import checkpoint, clerk
from recsys.towers.fit import EpochRow, TowerJob, fit
from recsys.towers.lightning import Training
from recsys.towers.monitor import Score
from recsys.towers.softmax import chunked_softmax
from recsys.towers.spec import Auto, Cpu, Gpu, Loss, Sampled, TwoTower
from tests.towers.shops import SMALL, Shop, job

TWO = TwoTower(dim=8, epochs=2, patience=0)


def state_of(folder: Path) -> dict[str, Any]:
    """Return all that a checkpoint holds but how long it took."""
    state, _ = checkpoint.load(folder)
    state["place"].pop("seconds")
    return state


def flat(state: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of a nested state by their path."""
    if isinstance(state, dict):
        items = [flat(value, f"{path}/{key}") for key, value in state.items()]
    elif isinstance(state, list | tuple):
        items = [flat(value, f"{path}/{n}") for n, value in enumerate(state)]
    else:
        return {path: state}
    return {key: value for part in items for key, value in part.items()}


def assert_same_bits(one: Path, other: Path) -> None:
    ours, theirs = flat(state_of(one)), flat(state_of(other))
    assert ours.keys() == theirs.keys()
    for path, value in ours.items():
        same = (
            torch.equal(value, theirs[path]) if isinstance(value, Tensor) else value == theirs[path]
        )
        assert same, path


def newest(asked: TowerJob) -> Path:
    found = checkpoint.newest(asked.checkpoints)
    assert found is not None
    return found


def total(asked: TowerJob) -> int:
    steps: int = state_of(newest(asked))["place"]["total"]
    return steps


class Steps:
    """Calls `act` when so many steps of training have begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act: Callable[[int], None]) -> None:
        self.done = 0
        plain = Training.training_step

        def step(training: Training, batch: Any, batch_idx: int) -> Tensor:
            self.done += 1
            act(self.done)
            return plain(training, batch, batch_idx)

        monkeypatch.setattr(Training, "training_step", step)


def stopped_at(asked: TowerJob, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise the job's stop flag in a step, as a signal would, and run into it."""
    flag = StopFlag()

    def act(done: int) -> None:
        if done == step:
            flag.handle(signal.SIGTERM, None)

    with monkeypatch.context() as patched:
        Steps(patched, act)
        with pytest.raises(InterruptedRunError, match="saved") as caught:
            fit(replace(asked, stop=flag))
    assert caught.value.signal_code == 143


@pytest.fixture(scope="module")
def whole(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> TowerJob:
    """A training that nothing interrupted."""
    asked = job(shop, tmp_path_factory.mktemp("whole"), TWO)
    fit(asked)
    return asked


@pytest.mark.parametrize(("epochs", "more"), [(0, 1), (0, 7), (1, 0), (1, 5)])
def test_a_run_stopped_at_any_step_goes_on_to_the_same_bits(
    shop: Shop,
    whole: TowerJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epochs: int,
    more: int,
) -> None:
    asked = job(shop, tmp_path, TWO)
    step = epochs * total(whole) // 2 + more
    stopped_at(asked, step, monkeypatch)
    assert total(asked) == step
    torch.manual_seed(step)  # whatever another process drew before
    best = fit(asked)
    assert_same_bits(newest(asked), newest(whole))
    assert_same_bits(best, whole.checkpoints / best.name)


def test_a_killed_run_goes_on_from_its_last_save_to_the_same_bits(
    shop: Shop, whole: TowerJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(job(shop, tmp_path, TWO), trainer=Cpu(threads=1, save_every_steps=5))

    def die(done: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        Steps(patched, die)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            fit(asked)
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
    monkeypatch.setattr(clerk, "validate", lambda *_, **__: Score(0.5, 0.5, 0.5, 9.0, 0.1))
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


def test_scores_that_are_no_numbers_end_the_run(shop: Shop, tmp_path: Path) -> None:
    sales = shop.encoded.sales
    bad = replace(sales, dense=np.full_like(sales.dense, np.nan))
    asked = replace(job(shop, tmp_path, TWO), encoded=replace(shop.encoded, sales=bad))
    with pytest.raises(DivergedError, match="no finite gradient"):
        fit(asked)
    rows = json.loads((tmp_path / "bad_batches.json").read_text())
    assert [row["step"] for row in rows] == list(range(len(rows)))
    assert len(rows) > 3
    assert set(rows[0]["members"]) <= set(shop.blocks.towers.member.tolist())
    assert set(rows[0]["sales"]) <= set(shop.blocks.towers.target_sale.tolist())
    assert rows[0]["sales"]


@pytest.mark.parametrize(("broken", "ends"), [({3, 4, 5}, False), ({3, 4, 5, 6}, True)])
def test_three_bad_steps_in_a_row_are_lived_through_and_four_are_not(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: set[int], ends: bool
) -> None:
    plain, calls = chunked_softmax, [0]

    def sometimes(*args: Any, **kwargs: Any) -> Tensor:
        calls[0] += 1
        loss = plain(*args, **kwargs)
        return loss * torch.nan if calls[0] in broken else loss

    monkeypatch.setattr("recsys.towers.lightning.chunked_softmax", sometimes)
    rows: list[EpochRow] = []
    asked = replace(job(shop, tmp_path, TWO), on_epoch=rows.append)
    if ends:
        with pytest.raises(DivergedError):
            fit(asked)
        return
    fit(asked)
    assert rows[-1].skipped == len(broken)
    assert all(math.isfinite(row.loss) for row in rows)
    state = state_of(newest(asked))
    leaves = flat([state["net"], state["averaged"], state["adam"]["state"]])
    assert all(torch.isfinite(leaf).all() for leaf in leaves.values())
    assert state["place"]["bad"] == [(0, step - 1) for step in sorted(broken)]


def test_what_cannot_be_trained_is_refused_before_anything_is_made(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    asked = job(shop, tmp_path / "run", TWO)
    with pytest.raises(DeviceError, match=r"(?s)GPU.*trainer=cpu"):
        fit(replace(asked, trainer=Gpu()))
    with pytest.raises(SettingError, match="fp16"):
        fit(replace(asked, trainer=Auto(precision="fp16")))
    with pytest.raises(DataRefusedError, match="no outcome in the training part"):
        fit(replace(asked, train=barren(asked.train)))
    with pytest.raises(DataRefusedError, match="no outcome in the validation part"):
        fit(replace(asked, validation=barren(asked.validation)))
    alone = replace(asked.train, shelf_end=asked.train.shelf_start + 1)
    with pytest.raises(DataRefusedError, match="nothing to choose between"):
        fit(replace(asked, train=alone))
    assert not (tmp_path / "run").exists()


def barren(requests: Requests) -> Requests:
    none = np.zeros(len(requests) + 1, dtype=np.int64)
    return replace(requests, target_ptr=none, target_sale=requests.target_sale[:0])


def test_a_full_disk_is_refused_before_the_first_step(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DISK, "free_bytes", lambda _: 1000)
    steps = Steps(monkeypatch, lambda _: None)
    with pytest.raises(NoRoomError, match="1,000 bytes free"):
        fit(job(shop, tmp_path, TWO))
    assert steps.done == 0


def test_training_is_quiet_and_leaves_the_process_as_it_was(
    shop: Shop,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    level = logging.getLogger("pytorch_lightning").level
    torch.manual_seed(3)
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    fit(replace(job(shop, tmp_path, TWO), trainer=Cpu(threads=2)))
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert {s: signal.getsignal(s) for s in handlers} == handlers
    assert logging.getLogger("pytorch_lightning").level == level
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("loss", [Sampled(in_batch=16, uniform=32), SMALL.loss])
def test_a_catalogue_that_never_closes_is_learned_too(
    endless: Shop, tmp_path: Path, loss: Loss
) -> None:
    rows: list[EpochRow] = []
    spec = TwoTower(dim=16, epochs=5, loss=loss)
    fit(replace(job(endless, tmp_path, spec), on_epoch=rows.append))
    assert rows[-1].loss < 0.7 * rows[0].loss
    assert max(row.ndcg_at_10 for row in rows) > rows[0].ndcg_at_10 + 0.05
    assert not rows[-1].skipped


def test_an_exact_run_is_possible_when_asked_for(shop: Shop, tmp_path: Path) -> None:
    exact = Cpu(threads=1, deterministic=True)
    try:
        fit(replace(job(shop, tmp_path, TwoTower(dim=8, epochs=1)), trainer=exact))
    finally:
        torch.use_deterministic_algorithms(False)
