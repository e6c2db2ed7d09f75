from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from recsys.data.encode import encode
from recsys.domain.arrays import I64, NONE
from recsys.domain.errors import BrokenArtefactError, SettingError
from recsys.domain.events import DAY
from recsys.domain.prices import Prices
from recsys.domain.slates import FLAG_EXPLORED
from recsys.rerank.house import House
from recsys.rerank.spec import Blend
from recsys.serve.bundle import open_bundle, publish_bundle
from recsys.serve.newcomer import Newcomer
from recsys.serve.parts import BundleParts
from tests.builders import tiny_dataset
from tests.serve.welcoming import (
    a_click_later,
    as_newcomer,
    part_of,
    same,
    strangers,
    touch,
    whole,
)
from tests.towers.carrying import Made, made
from tests.towers.shops import SMALL

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", name="one")
def _one() -> Made:
    return made(tiny_dataset(members=60, days=10, sales_a_day=8), SMALL)


@pytest.fixture(scope="module", name="parts")
def _parts(one: Made) -> BundleParts:
    return whole(one)


def consenting(parts: BundleParts) -> I64:
    return np.flatnonzero(parts.personalise)


@pytest.mark.parametrize("slots", [1, 6])
def test_who_tells_what_a_member_did_gets_the_members_slate(
    one: Made, parts: BundleParts, slots: int
) -> None:
    shelf, members = parts.shelves.at(parts.decided_at), consenting(parts)
    told = [as_newcomer(one.dataset, member) for member in members.tolist()]
    found = parts.welcome(told, shelf, slots=slots)
    assert found.slates is not None
    assert not found.because
    np.testing.assert_allclose(found.vectors, parts.members.vectors[members], atol=1e-5)
    same(found.slates, parts.slates(members, shelf, slots=slots))
    counts = np.diff(one.dataset.history.member_ptr)[members]
    assert [heard.used + heard.later for heard in found.heard] == counts.tolist()
    assert {len(set(row)) for row in found.slates.sales.tolist()} == {slots}
    alone = [parts.welcome([each], shelf, slots=slots).slates for each in told[:5]]
    for place, slate in enumerate(alone):
        assert slate is not None
        same(slate, part_of(found.slates, place))


def test_a_longer_past_seen_later_is_that_of_a_member_then(one: Made, parts: BundleParts) -> None:
    """Half a past, half a day before: as the towers and the ranker saw the member then."""
    at = one.dataset.watermark - 2 * DAY
    members = consenting(parts)
    shelf = parts.shelves.at(at)
    then = one.embedder.embeddings_members(np.arange(one.dataset.num_members), at)
    found = parts.welcome(
        [as_newcomer(one.dataset, member) for member in members.tolist()], shelf, slots=4
    )
    assert found.slates is not None
    same(found.slates, replace(parts, members=then).slates(members, shelf, slots=4))
    assert sum(heard.later for heard in found.heard) > 0


def test_what_is_left_out_of_a_past_is_counted(parts: BundleParts) -> None:
    shelf = parts.shelves.at(parts.decided_at)
    history = (
        touch(),
        touch(),
        touch(channel="app"),
        touch(sale="no such sale"),
        touch(kind="visit", sale=None),
        touch(kind="Mail-Open"),
        touch(at=shelf.at),
        touch(at=shelf.at - 1),
        touch(at=datetime.fromtimestamp(shelf.at / 1e6 + 60, tz=UTC).isoformat()),
    )
    found = parts.welcome([Newcomer(history), Newcomer()], shelf, slots=3)
    heard, nothing = found.heard
    assert msgspec.structs.asdict(heard) == {
        "used": 2,
        "silent": 2,
        "unknown_sales": 1,
        "later": 2,
        "repeated": 2,
    }
    assert sum(msgspec.structs.astuple(heard)) == len(history)
    assert not any(msgspec.structs.astuple(nothing))
    short = parts.welcome([Newcomer((touch(), touch(at=shelf.at - 1)))], shelf, slots=3)
    assert short.slates is not None
    assert found.slates is not None
    same(part_of(found.slates, 0), short.slates)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"history": [{"kind": "purchse", "at": 1, "sale": "s"}]}, "kind of event: 'purchase'?"),
        ({"history": [{"kind": "view", "at": "noon", "sale": "s"}]}, "'noon' in a newcomer"),
        (
            {"history": [{"kind": "view", "at": "2026-03-25T12:00:00", "sale": "s"}]},
            "with an offset",
        ),
        ({"history": [{"kind": "view", "at": 1774350000, "sale": "s"}]}, "UTC microseconds"),
        ({"history": [{"kind": "view", "at": "2026-03-25T12:00:00Z"}]}, "names no sale"),
        ({"features": {"reigon": "x"}}, "no column 'reigon': 'region'?"),
        ({"features": {"income": 3}}, "columns are: region, likes"),
        ({"features": {"region": ["x"]}}, "wanted one value"),
    ],
)
def test_what_cannot_be_read_is_refused_and_says_what_to_do(
    parts: BundleParts, said: dict[str, Any], what: str
) -> None:
    asked = msgspec.convert(said, Newcomer)
    with pytest.raises(SettingError) as refused:
        parts.welcome([Newcomer(), asked], parts.shelves.at(parts.decided_at), slots=3)
    assert what in str(refused.value)


def test_luck_hangs_on_who_asks_and_not_on_the_company(one: Made) -> None:
    lucky = whole(one, Blend(explore_share=0.5, explore_below=10_000))
    shelf = lucky.shelves.at(lucky.decided_at)
    told = strangers(40)
    together = lucky.welcome(told, shelf, slots=4).slates
    turned = lucky.welcome(told[::-1], shelf, slots=4).slates
    assert together is not None
    assert turned is not None
    np.testing.assert_array_equal(together.sales, turned.sales[::-1])
    explored = (together.flags & FLAG_EXPLORED > 0).any(axis=1)
    assert 8 < explored.sum() < 32  # a half of forty, within four deviations
    asked_again = lucky.welcome([a_click_later(one) for one in told], shelf, slots=4).slates
    assert asked_again is not None
    again = (asked_again.flags & FLAG_EXPLORED > 0).any(axis=1)
    np.testing.assert_array_equal(again, explored)
    unnamed = [msgspec.structs.replace(each, member="") for each in told]
    other = lucky.welcome(unnamed, shelf, slots=4).slates
    assert other is not None
    assert 8 < (other.flags & FLAG_EXPLORED > 0).any(axis=1).sum() < 32


def test_a_newcomer_has_no_segment_of_somebody_else(one: Made, parts: BundleParts) -> None:
    brand = str(one.dataset.sales["brand"][int(parts.shelves.at(parts.decided_at).sales[0])])
    prices = Prices(
        groups=(f"brand={brand}",),
        segments=("first",),
        floor=np.array([5.0], dtype=np.float32),
        cap=np.zeros(1, dtype=np.float32),
        missed=np.zeros(1, dtype=np.float32),
    )
    everyone = np.zeros(one.dataset.num_members, dtype=np.int16)
    house = House(parts.info, prices=prices, segments=("first",), segment=everyone)
    priced = replace(parts, ranker=parts.ranker.with_house(house))
    shelf = priced.shelves.at(priced.decided_at)
    told = strangers(3)
    members = consenting(parts)[:3]
    for _ in range(2):  # in turn, for what is kept of one is not for the other
        of_members = priced.slates(members, shelf, slots=4)
        of_newcomers = priced.welcome(told, shelf, slots=4).slates
        plain = parts.welcome(told, shelf, slots=4).slates
        assert of_newcomers is not None
        assert plain is not None
        same(of_newcomers, plain)
        assert not np.array_equal(of_members.sales, parts.slates(members, shelf, slots=4).sales)


def test_newcomers_leave_no_trace(parts: BundleParts) -> None:
    shelf, members = parts.shelves.at(parts.decided_at), consenting(parts)
    before = parts.slates(members, shelf, slots=5)
    desk = parts.desk
    parts.welcome(strangers(9), shelf, slots=3)
    assert parts.desk is desk
    same(parts.slates(members, shelf, slots=5), before)


def test_a_bundle_carries_its_tower_and_says_so_where_it_cannot(
    parts: BundleParts, tmp_path: Path
) -> None:
    shelf, told = parts.shelves.at(parts.decided_at), strangers(7)
    expected = parts.welcome(told, shelf, slots=4)
    back = open_bundle(publish_bundle(parts, tmp_path / "new")).parts
    found = back.welcome(told, shelf, slots=4)
    assert found.slates is not None
    assert expected.slates is not None
    same(found.slates, expected.slates)
    assert found.heard == expected.heard

    old = open_bundle(publish_bundle(replace(parts, towers=None), tmp_path / "old"))
    assert not (old.folder / "towers").exists()
    turned = old.parts.welcome(told, shelf, slots=4)
    assert turned.slates is None
    assert "with recsys refresh" in turned.because
    foreign = {"towers": {"encoder": {"kind": "recurrent"}}}
    because = replace(old.parts, specs=foreign).welcome(told, shelf, slots=4).because
    assert "its encoder 'recurrent' is an installed package's" in because


def test_a_tower_of_other_sales_or_another_width_is_refused(one: Made, parts: BundleParts) -> None:
    short = replace(one.tower, x=one.tower.x[:-1])
    with pytest.raises(ValueError, match="the towers are of"):
        replace(parts, towers=short)


def test_a_damaged_tower_is_caught_when_the_bundle_is_opened(
    parts: BundleParts, tmp_path: Path
) -> None:
    folder = publish_bundle(parts, tmp_path)
    bad = shutil.copytree(folder, tmp_path / "bad" / folder.name)
    file = bad / "towers" / "x.npy"
    file.chmod(0o644)
    raw = bytearray(file.read_bytes())
    raw[-3] ^= 4
    file.write_bytes(raw)
    with pytest.raises(BrokenArtefactError, match=r"x\.npy"):
        open_bundle(bad)


ASK = """
import json, sys
from pathlib import Path
import msgspec
from recsys.serve.bundle import open_bundle
from recsys.serve.newcomer import Newcomer

folder, told = sys.argv[1:]
parts = open_bundle(Path(folder)).parts
asked = msgspec.json.decode(told, type=tuple[Newcomer, ...])
found = parts.welcome(asked, parts.shelves.at(parts.decided_at), slots=4)
heavy = sorted({"torch", "pytorch_lightning", "safetensors", "hydra"} & set(sys.modules))
print(json.dumps({"sales": found.slates.sales.tolist(), "heavy": heavy}))
"""


def asked_elsewhere(folder: Path, told: Sequence[Newcomer]) -> dict[str, Any]:
    """What a process answers that knows nothing but the bundle."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, folder, msgspec.json.encode(told).decode()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_a_process_without_torch_gives_the_same_slates(
    one: Made, parts: BundleParts, tmp_path: Path
) -> None:
    members = consenting(parts)[:8]
    told = [as_newcomer(one.dataset, member) for member in members.tolist()]
    said = asked_elsewhere(publish_bundle(parts, tmp_path), told)
    shelf = parts.shelves.at(parts.decided_at)
    assert said["heavy"] == []
    assert said["sales"] == parts.slates(members, shelf, slots=4).sales.tolist()
    assert NONE not in np.array(said["sales"])


def test_features_of_members_come_back_as_they_were_encoded(one: Made) -> None:
    told = [as_newcomer(one.dataset, member).features for member in range(20)]
    found, expected = one.tower.columns(told), encode(one.encoders, one.dataset).members
    np.testing.assert_array_equal(found.ptr, expected.ptr[:21])
    np.testing.assert_array_equal(found.row, expected.row[: found.ptr[-1]])
