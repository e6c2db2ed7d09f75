from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.data.encode import encode, fit
from recsys.data.requests import blocks
from recsys.domain.artefact import read_manifest
from recsys.domain.errors import DataRefusedError, SettingError
from recsys.domain.source import Source
from recsys.towers import embed, warm
from recsys.towers.device import resolve
from recsys.towers.fit import TowerJob, prepare
from recsys.towers.fit import fit as train
from recsys.towers.keys import sale_keys
from recsys.towers.spec import Cpu, TwoTower
from tests.builders import tiny_dataset
from tests.towers.following import assert_same_bits, newest, state_of, stopped_at
from tests.towers.shops import Shop, job

SPEC = TwoTower(dim=8, epochs=3, patience=0)
THREE = TwoTower(dim=8, epochs=3, patience=0, warm_epochs=2)


@pytest.fixture(scope="module")
def days() -> tuple[Shop, Shop]:
    """A shop as it was two days ago, and as it is, with the encoders of then."""
    shops = [tiny_dataset(members=90, days=days, sales_a_day=8) for days in (14, 16)]
    cuts = [blocks(dataset, Source(outcome_hours=24)) for dataset in shops]
    encoders = fit(shops[0], int(cuts[0].towers.at.max()) + 1, 12)
    then, now = (
        Shop(dataset, cut, encode(encoders, dataset))
        for dataset, cut in zip(shops, cuts, strict=True)
    )
    return then, now


@pytest.fixture(scope="module")
def before(days: tuple[Shop, Shop], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(job(days[0], tmp_path_factory.mktemp("before"), SPEC))


@pytest.fixture
def asked(days: tuple[Shop, Shop], before: Path, tmp_path: Path) -> TowerJob:
    return replace(job(days[1], tmp_path / "now", THREE), warm=before)


def test_only_requests_since_the_earlier_training_are_learned(
    asked: TowerJob, days: tuple[Shop, Shop]
) -> None:
    lesson = warm.lesson(asked)
    last = int(days[0].blocks.towers.at.max())
    assert len(lesson) == int((asked.train.at > last).sum())
    assert 0 < len(lesson) < len(asked.train)
    assert lesson.at.min() > last
    assert warm.lesson(replace(asked, warm=None)) is asked.train


def test_rows_are_carried_over_by_what_they_stand_for(asked: TowerJob, before: Path) -> None:
    trained = embed.load(before)
    training = prepare(warm.settled(asked), resolve(Cpu()))
    net, keys = training.net, sale_keys(asked.dataset.sales["sale"]).numpy()
    old = {key: row for row, key in enumerate(trained.sale_keys.tolist())}
    assert net.sale_input.own is not None
    met = 0
    for row, key in enumerate(keys.tolist()):
        own = net.sale_input.own[row]
        if key in old:
            met += int(own.any())
            assert torch.equal(own, trained.weights["sale_input.own"][old[key]])
        else:
            assert not own.any()
    assert met
    used = training.feed.assembler.resident.used
    both = np.intersect1d(used, trained.used)
    mine, theirs = np.searchsorted(used, both), np.searchsorted(trained.used, both)
    assert torch.equal(net.table[mine], trained.weights["table"][theirs])
    for name, weight in net.state_dict().items():
        if name not in warm._BY_ROW | {"sale_tower.loudness"}:
            assert torch.equal(weight, trained.weights[name]), name
        assert torch.equal(weight, training.averaged.state_dict()[name]), name
    assert net.sale_tower.loudness == 1


def test_rates_and_epochs_are_those_of_a_warm_start(asked: TowerJob) -> None:
    settled = warm.settled(asked).towers
    assert settled.epochs == THREE.warm_epochs
    assert settled.rate == pytest.approx(0.3 * THREE.rate)
    assert settled.table_rate == pytest.approx(0.3 * THREE.table_rate)
    assert warm.settled(replace(asked, warm=None)).towers == THREE


def test_it_ends_near_where_it_began_and_says_how_near(asked: TowerJob, before: Path) -> None:
    told: list[str] = []
    best = train(replace(asked, tell=told.append))
    assert state_of(newest(asked))["place"]["epoch"] == THREE.warm_epochs
    (line,) = told
    assert read_manifest(before).fingerprint in line
    near = [float(word.rstrip(",")) for word in line.split() if word.startswith(("0.", "1."))]
    assert len(near) == 2
    assert all(0.5 < one < 1 for one in near), line
    assert " 90 members" not in line  # who has no past says nothing of what was learned
    same = warm.moved(replace(asked, warm=best), best)
    assert same.count("1.000") == 2


def test_one_stopped_in_the_middle_goes_on_to_the_same_bits(
    asked: TowerJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = replace(asked, folder=tmp_path / "whole")
    train(whole)
    stopped_at(asked, 3, monkeypatch)
    train(asked)
    assert_same_bits(newest(asked), newest(whole))


def test_what_cannot_be_started_from_is_refused(
    asked: TowerJob, days: tuple[Shop, Shop], before: Path, tmp_path: Path
) -> None:
    wider = replace(asked, towers=TwoTower(dim=16))
    with pytest.raises(SettingError, match=r"(?s)cannot be started from.*leave out warm_start"):
        train(wider)
    without = replace(asked, towers=SPEC.model_copy(update={"id": "off"}))
    with pytest.raises(SettingError, match=r"sale_input\.own is of another shape or kind"):
        train(without)
    others = replace(asked, encoded=replace(asked.encoded, fingerprint="f" * 16))
    with pytest.raises(SettingError, match="its encoders"):
        train(others)
    again = replace(job(days[0], tmp_path / "again", SPEC), warm=before)
    with pytest.raises(DataRefusedError, match="has learned all"):
        train(again)


def test_a_training_begun_anew_is_not_gone_on_with_from_elsewhere(
    asked: TowerJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_at(asked, 2, monkeypatch)
    anew = replace(asked, warm=None, towers=warm.settled(asked).towers)
    with pytest.raises(SettingError, match="its warm is another"):
        train(anew)
