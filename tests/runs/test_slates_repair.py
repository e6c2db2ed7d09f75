from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.campaign.promise import priced, promises_of
from recsys.campaign.spec import Promised
from recsys.domain.dataset import Dataset
from recsys.domain.errors import GateError
from recsys.rerank.house import House
from recsys.rerank.spec import Blend
from recsys.runs.slates_seat import seated
from tests.builders import tiny_dataset
from tests.runs.slates_shop import log_of, manifest, shop_of, with_taste
from tests.serve.conftest import parts_of


def promised(dataset: Dataset, spec: Promised) -> dict[str, Any]:
    """A bundle's parts whose prices keep promises in a small sample, and so miss some in all."""
    parts = parts_of(dataset)
    info = dataset.sales.select("sale", "brand", "category")
    nobody = np.full(dataset.num_members, -1, dtype=np.int16)
    made = replace(with_taste(), spec=Blend(explore_share=0.0))
    promises, _ = promises_of(spec, parts.shop.shelf(parts.decided_at), info)
    seat = seated(replace(parts, ranker=made), parts.decided_at, made.with_slots(6).spec)
    audience = seat.audience(np.flatnonzero(parts.personalise).astype(np.int32))
    prices, _ = priced(seat.ranker, audience, promises, segment=nobody, spec=spec)
    house = House(info=info, prices=prices)
    specs = {"campaign": spec.model_dump(mode="json")}
    return {"ranker": made.with_house(house), "specs": specs}


@pytest.mark.slow
def test_promises_that_prices_miss_by_little_are_kept_by_swaps(tmp_path: Path) -> None:
    dataset = tiny_dataset(members=400, days=6, sales_a_day=20)
    spec = Promised(each_pick=0.0, each_sale=0.4, sample=60, tighten=0.0)
    more = promised(dataset, spec)
    shop = shop_of(tmp_path, dataset, **more)
    as_priced = shop.made(members_per_shard=150, most_repaired=0.0, out=str(tmp_path / "a"))
    said: Any = manifest(as_priced).extra
    assert said["missed"]
    folder = shop.made(members_per_shard=150, most_repaired=0.2, out=str(tmp_path / "b"))
    log, before = log_of(folder), log_of(as_priced)
    own = log.filter(pl.col("prices_id").is_not_null())
    members = own["member_id"].n_unique()
    shown = own.group_by("sale_id").agg((pl.len() / members).alias("share"))
    assert shown["share"].to_numpy().max() <= 0.4 + 1e-9
    said = manifest(folder).extra
    reach = {sale: number for sale, number in said["reach"].items() if number}
    assert reach == dict(log.group_by("sale_id").agg(pl.len()).iter_rows())
    repaired = own.filter("repaired")
    assert repaired["log_propensity"].null_count() == len(repaired)
    assert repaired["member_id"].n_unique() == manifest(folder).counts["repaired"] > 0
    # all other slates are as they were
    rest = pl.col("member_id").is_in(repaired["member_id"].unique().implode()).not_()
    key = ["member_id", "slot"]
    plain = (one.filter(rest).drop("send_id").sort(key) for one in (log, before))
    assert next(plain).equals(next(plain))
    with pytest.raises(GateError, match="promises are not kept"):
        shop.made(members_per_shard=150, most_repaired=1e-9, out=str(tmp_path / "c"))


def test_a_promise_to_members_who_get_no_slate_of_their_own_is_told_and_all_is_sent(
    tmp_path: Path,
) -> None:
    dataset = tiny_dataset(members=60, days=6, sales_a_day=20)
    more = promised(dataset, Promised(each_pick=0.0, each_sale=0.4, tighten=0.0))
    withheld = ~dataset.members["consent_personalise"].to_numpy()
    assert withheld.any()
    asked = {"group": "sale=s0110", "lower": 0.1, "segment": "tier=gold"}
    more["specs"]["campaign"] |= {"bounds": [asked], "segments": ["tier=gold"]}
    house = more["ranker"].house
    segment = np.where(withheld, 0, -1).astype(np.int16)
    house = replace(house, segments=("tier=gold",), segment=segment)
    more["ranker"] = more["ranker"].with_house(house)
    shop = shop_of(tmp_path, dataset, **more)
    folder = shop.made(most_repaired=0.0, out=str(tmp_path / "a"))
    said: Any = manifest(folder).extra
    assert said["missed"][-1] == (
        "sale=s0110 in tier=gold is promised, but it has no member here: left out"
    )
    assert log_of(folder)["member_id"].n_unique() == 60
