from __future__ import annotations

import json
import logging
import math
import signal
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
from recsys.towers.clerk import Clerk
from recsys.towers.fit import EpochRow, fit
from recsys.towers.softmax import chunked_softmax
from recsys.towers.spec import Auto, Cpu, Gpu, Loss, Sampled, TwoTower
from tests.towers.following import (
    TWO,
    Steps,
    assert_same_bits,
    flat,
    newest,
    state_of,
)
from tests.towers.shops import SMALL, Shop, job


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
    nameless = replace(asked.encoded.sales, fields=(), dense_names=())
    unknown = replace(asked, encoded=replace(asked.encoded, sales=nameless))
    for identity in ("bounded", "off"):
        spec = asked.towers.model_copy(update={"id": identity})
        with pytest.raises(SettingError, match=r"(?s)towers.id=.*no content.*towers.id=auto"):
            fit(replace(unknown, towers=spec))
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


def test_a_signal_in_lightnings_first_moments_is_heard_too(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Clerk.on_train_start

    def early(*args: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        plain(*args)

    monkeypatch.setattr(Clerk, "on_train_start", early)
    with pytest.raises(InterruptedRunError) as told:
        fit(job(shop, tmp_path, TWO))
    monkeypatch.undo()
    assert told.value.signal_code == 143
    assert fit(job(shop, tmp_path, TWO)).exists()


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


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_same_seed_gives_the_same_bits_on_two_threads(
    endless: Shop, tmp_path: Path, deterministic: bool
) -> None:
    exact = Cpu(threads=2, deterministic=deterministic)
    spec = TwoTower(dim=16, epochs=2, loss=Sampled(in_batch=16, uniform=32))
    runs = [replace(job(endless, tmp_path / str(n), spec), trainer=exact) for n in range(2)]
    try:
        kept = [fit(run) for run in runs]
    finally:
        torch.use_deterministic_algorithms(False)
    assert_same_bits(*kept)
