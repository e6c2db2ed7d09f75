from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recsys.domain.errors import (
    BrokenArtefactError,
    DataRefusedError,
    DivergedError,
    InterruptedRunError,
    NoRoomError,
    RecsysError,
    SettingError,
)
from recsys.domain.stop import StopFlag
from recsys.towers import checkpoint, processes
from recsys.towers.batches import Share
from recsys.towers.fit import EpochRow, TowerJob, fit
from recsys.towers.spec import Cpu, Ddp, Encoder, TwoTower
from tests.towers.shops import ENCODERS, GENTLE, Shop, job, named, with_encoder

TWO = Ddp(processes=2, device="cpu", threads=1, precision="fp32")


def averaged(asked: TowerJob) -> dict[str, torch.Tensor]:
    newest = checkpoint.newest(asked.checkpoints)
    assert newest is not None
    weights: dict[str, torch.Tensor] = checkpoint.load(newest)[0]["averaged"]
    return weights


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS, ids=named)
def test_two_processes_learn_what_one_learns(shop: Shop, tmp_path: Path, encoder: Encoder) -> None:
    rows: list[EpochRow] = []
    spec = with_encoder(GENTLE, encoder)
    alone = replace(job(shop, tmp_path / "one", spec), trainer=Cpu(threads=1, precision="fp32"))
    together = replace(job(shop, tmp_path / "two", spec), trainer=TWO, on_epoch=rows.append)
    assert fit(alone).name == fit(together).name
    assert [row.epoch for row in rows] == [1, 2]
    one, two = averaged(alone), averaged(together)
    # softmax is blind to what all scores share: its gradient is rounding, blown up by Adam
    assert one.pop("sale_tower.base_bias").shape == two.pop("sale_tower.base_bias").shape
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_stop_reaches_all_processes_and_the_run_goes_on(shop: Shop, tmp_path: Path) -> None:
    flag = StopFlag()
    spec = TwoTower(dim=8, epochs=40, patience=0)
    asked = replace(job(shop, tmp_path, spec), trainer=TWO)

    def first_epoch(row: EpochRow) -> None:
        flag.handle(signal.SIGINT, None)

    with pytest.raises(InterruptedRunError) as caught:
        fit(replace(asked, stop=flag, on_epoch=first_epoch))
    assert caught.value.signal_code == 130
    newest = checkpoint.newest(asked.checkpoints)
    assert newest is not None
    place = checkpoint.load(newest)[0]["place"]
    assert 1 <= place["epoch"] < 40


def test_what_a_process_says_reaches_whom_it_is_for(shop: Shop, tmp_path: Path) -> None:
    lines, rows = list[str](), list[EpochRow]()
    asked = replace(job(shop, tmp_path), tell=lines.append, on_epoch=rows.append)
    row = EpochRow(
        1, 0.5, 0.1, 0.2, 0.1, best=True, requests_per_second=9.0, seconds=1.0, tau=0.07, skipped=0
    )
    for message in ("step-00000001 is damaged", row):
        processes._hear(asked, message)
    assert (lines, rows) == (["step-00000001 is damaged"], [row])
    with pytest.raises(NoRoomError, match="no room"):
        processes._hear(asked, ("NoRoomError", "no room"))
    for kind in (SettingError, DataRefusedError, BrokenArtefactError, DivergedError):
        with pytest.raises(kind, match="as it was raised"):
            processes._hear(asked, (kind.__name__, "as it was raised"))
    with pytest.raises(RecsysError, match="unheard of"):
        processes._hear(asked, ("ValueError", "unheard of"))


def breaks_in_the_second(asked: TowerJob) -> Path:
    if processes.share().rank == 1:
        raise ValueError("a planted fault")
    time.sleep(60)
    return asked.checkpoints


def is_killed(asked: TowerJob) -> Path:
    os.kill(os.getpid(), signal.SIGKILL)
    return asked.checkpoints


@pytest.mark.slow
def test_an_error_says_which_process_failed_and_with_what(shop: Shop, tmp_path: Path) -> None:
    asked = job(shop, tmp_path, GENTLE)
    with pytest.raises(RecsysError, match=r"1 of 2 failed: ValueError: a planted fault"):
        processes.run(asked, 2, breaks_in_the_second)
    with pytest.raises(RecsysError, match=r"0 of 1 was ended by SIGKILL") as caught:
        processes.run(asked, 1, is_killed)
    assert "memory" in str(caught.value)


def ends_before_the_other(asked: TowerJob) -> Path:
    if processes.share().rank == 0:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        asked.tell("alone")
        time.sleep(60)
    return asked.checkpoints


def hears_nothing_yet(asked: TowerJob) -> Path:
    if processes.share().rank == 0:
        asked.tell("alone")
    time.sleep(60)
    return asked.checkpoints


@pytest.mark.slow
@pytest.mark.parametrize("train", [ends_before_the_other, hears_nothing_yet])
def test_a_stop_while_some_have_ended_or_do_not_listen_yet_is_a_stop(
    shop: Shop, tmp_path: Path, train: Callable[[TowerJob], Path]
) -> None:
    stop = StopFlag()

    def stopping(_said: str) -> None:
        time.sleep(2)
        stop.handle(signal.SIGTERM, None)

    processes.run(replace(job(shop, tmp_path, GENTLE), stop=stop, tell=stopping), 2, train)
    assert stop.raised


def test_how_a_process_ended_is_said_in_words() -> None:
    error = processes._ending([(0, 3), (2, -signal.SIGTERM), (3, None)], 4)
    said = str(error)
    assert "0 of 4 ended with code 3" in said
    assert "2 of 4 was ended by SIGTERM" in said
    assert "3 of 4 did not end within" in said


def test_a_process_knows_its_share_from_its_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not processes.inside()
    assert processes.share() == Share(rank=0, world=1)
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "2", "WORLD_SIZE": "5"}.items():
        monkeypatch.setitem(os.environ, name, value)
    assert processes.inside()
    assert processes.share() == Share(rank=2, world=5)
