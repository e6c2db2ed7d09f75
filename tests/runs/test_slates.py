from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.campaign.audience import shard_of
from recsys.campaign.keys import keys_of
from recsys.campaign.pace import Way
from recsys.domain.slates import PARTS
from recsys.runs.slates_sending import Dealt
from recsys.serve.bundle import open_bundle
from recsys.serve.recommender import Recommender
from tests.builders import tiny_dataset
from tests.runs.slates_shop import Shop, hashes, log_of, manifest, policies, shop_of
from tests.runs.starting import only


@pytest.fixture(scope="module", name="shop")
def _shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    dataset = tiny_dataset(members=60, days=10, sales_a_day=20)
    return shop_of(tmp_path_factory.mktemp("shop"), dataset)


@pytest.fixture(scope="module", name="whole")
def _whole(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everybody's slates, in four shards."""
    return shop.made(members_per_shard=15, out=str(tmp_path_factory.mktemp("whole")))


def test_each_member_is_there_once_and_the_log_keeps_its_contract(shop: Shop, whole: Path) -> None:
    log = log_of(whole)
    ids = shop.parts.members.ids
    assert sorted(log["member_id"].unique()) == sorted(ids)
    keys = log.select("send_id", "member_id", "slot")
    assert keys.n_unique() == len(keys) == 60 * 6
    utility = log["appeal"]
    for part in PARTS[1:-1]:
        utility = utility + log[part]
    assert (utility == log["utility"]).all()
    assert (utility + log["diversity"] == log["gain"]).all()
    assert manifest(whole).counts["members"] == 60


def test_slates_are_those_of_the_service(shop: Shop, whole: Path) -> None:
    recommender = Recommender(open_bundle(only(shop.root / "bundles", "[0-9a-f]*")))
    ids = [*shop.parts.members.ids]
    answers = recommender.recommend(ids, slots=6)
    assert {answer.fallback == "personalised" for answer in answers} == {True, False}
    log = log_of(whole).sort("slot").partition_by("member_id", as_dict=True)
    mail = pl.read_parquet(whole / "campaign" / "*.parquet")
    mails = mail.sort("slot").partition_by("member", as_dict=True)
    for answer in answers:
        rows, sent = log[answer.member,], mails[answer.member,]
        assert rows["sale_id"].to_list() == [place.sale for place in answer.sales]
        assert rows["reason"].to_list() == [place.reason for place in answer.sales]
        assert rows["evidence_id"].to_list() == [place.evidence for place in answer.sales]
        gains = [place.gain for place in answer.sales]
        np.testing.assert_allclose(rows["gain"].to_numpy(), gains, rtol=1e-5, atol=1e-9)
        assert sent["sale"].to_list() == [place.sale for place in answer.sales]
        assert sent["reason"].to_list() == [place.because for place in answer.sales]
        assert sent["title"].to_list() == [place.title for place in answer.sales]


def test_who_withholds_consent_gets_the_slate_that_is_for_all(shop: Shop, whole: Path) -> None:
    log, ways = log_of(whole), policies(whole)
    withheld = {*np.array(shop.parts.members.ids)[~shop.parts.personalise].tolist()}
    assert withheld
    by_way = {ways[policy[0]]: rows for policy, rows in log.group_by("policy_id")}
    assert {*by_way["plain"]["member_id"]} == withheld
    assert not by_way["plain"].select(pl.sum_horizontal(*PARTS)).to_series().to_numpy().any()
    assert manifest(whole).counts["withheld_consent"] == len(withheld)


def test_the_mailers_csv_says_what_its_parquet_says(whole: Path) -> None:
    for path in sorted((whole / "campaign").glob("*.csv")):
        rows = pl.read_parquet(path.with_suffix(".parquet"))
        with path.open(newline="", encoding="utf-8") as file:
            head, *read = csv.reader(file)
        assert head == rows.columns
        assert read == [[str(cell) for cell in row] for row in rows.rows()]


def test_a_member_stands_in_the_shard_of_their_id(whole: Path) -> None:
    for number in range(4):
        log = pl.read_parquet(whole / "log" / f"part-{number:05}.parquet")
        assert (shard_of(log["member_id"].unique(), 4) == number).all()


def test_two_processes_make_the_same_bits_as_one(shop: Shop, whole: Path, tmp_path: Path) -> None:
    two = {"kind": "local", "processes": 2}
    again = shop.made(members_per_shard=15, out=str(tmp_path), executor=two)
    assert hashes(again) == hashes(whole)


def test_a_shard_does_not_depend_on_who_else_is_asked_about(shop: Shop) -> None:
    sending = shop.sending()
    ids = pl.Series(shop.parts.members.ids)
    rows = np.arange(60, dtype=np.int32)
    group = np.zeros(60, dtype=np.int16)
    together = sending.log_rows(sending.fill(Dealt(ids, rows, group), Way.VALUE))
    some = rows[keys_of(ids) % np.uint64(3) == 1]
    alone = sending.log_rows(sending.fill(Dealt(ids[some], some, group[some]), Way.VALUE))
    assert together.filter(pl.col("member_id").is_in(ids[some].implode())).equals(alone)


def test_only_those_named_get_a_slate_and_strangers_are_counted(
    shop: Shop, whole: Path, tmp_path: Path
) -> None:
    named = [*shop.parts.members.ids[:7]]
    pl.DataFrame({"member": [*named, "nobody", named[0]]}).write_csv(tmp_path / "who.csv")
    folder = shop.made(members=str(tmp_path / "who.csv"), out=str(tmp_path / "out"), files=["csv"])
    log = log_of(folder)
    assert {*log["member_id"]} == {*named}
    assert manifest(folder).counts["unknown"] == 1
    before = log_of(whole).filter(pl.col("member_id").is_in(named)).drop("send_id")
    key = ["member_id", "slot"]
    assert log.drop("send_id").sort(key).equals(before.sort(key))
    assert not list(folder.glob("campaign/*.parquet"))


def test_what_shards_say_adds_up_to_what_the_log_says(shop: Shop, whole: Path) -> None:
    said: Any = manifest(whole).extra
    log = log_of(whole)
    counted = dict(log.group_by("sale_id").agg(pl.len()).iter_rows())
    assert {sale: n for sale, n in said["reach"].items() if n} == counted
    assert said["arms"] == {"outside": 60}
    assert json.loads((whole / "manifest.json").read_text())["kind"] == "slates"
