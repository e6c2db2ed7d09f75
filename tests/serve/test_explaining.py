"""What a sale is worth to a member is what its slate was made of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.domain.dataset import Dataset
from recsys.domain.slates import PARTS
from recsys.rerank.house import House, vocabs
from recsys.rerank.rules import Rules
from recsys.rerank.signals import PROVENANCE
from recsys.rerank.spec import Blend
from recsys.serve.bundle import Bundle, publish_bundle
from recsys.serve.front import iso
from tests.serve.asking import Service, refused
from tests.serve.conftest import parts_of

KNOWN, REFUSES = "m0003", "m0019"


@pytest.fixture(scope="module", name="service")
def _service(bundle: Bundle) -> Service:
    return Service(bundle.folder.parent)


def why(service: Service, sale: str, member: str = KNOWN, **more: Any) -> dict[str, Any]:
    answer = service.post("/v1/explain", member=member, sale=sale, **more)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def on_shelf(bundle: Bundle) -> list[str]:
    shelf = bundle.parts.shelves.at(bundle.parts.decided_at)
    ids: list[str] = bundle.parts.sales.ids[shelf.sales].tolist()
    return ids


@pytest.mark.parametrize("novelty", [None, 0.0, 20.0])
def test_parts_rank_and_slot_are_those_of_the_slate(
    service: Service, bundle: Bundle, novelty: float | None
) -> None:
    parts = bundle.parts
    shelf = parts.shelves.at(parts.decided_at)
    row = np.array([int(parts.member_ids.rows([KNOWN])[0])])
    made = parts.made(row, shelf, slots=4, novelty=novelty)
    asked = {"member": KNOWN, "slots": 4, "novelty": novelty}
    slate = service.post("/v1/recommend", **asked).json()
    slots = {place["sale"]: place for place in slate["sales"]}
    column = {
        str(parts.sales.ids[sale]): place for place, sale in enumerate(made.asked.question.sales[0])
    }
    utility = made.offer.parts.utility()[0]
    ranks = {}
    for sale in on_shelf(bundle):
        said = why(service, sale, slots=4, novelty=novelty)
        amounts = made.offer.parts.amounts[:, 0, column[sale]].tolist()
        assert said["parts"] == pytest.approx(dict(zip(PARTS[:-1], amounts, strict=True)))
        assert sum(said["parts"].values()) == pytest.approx(said["utility"], rel=1e-5)
        assert said["utility"] == pytest.approx(float(utility[column[sale]]))
        place = slots.get(sale)
        assert said["slot"] == (None if place is None else place["slot"])
        assert (said["diversity"] is None) == (place is None)
        if place is not None:
            assert said["utility"] + said["diversity"] == pytest.approx(place["gain"], rel=1e-5)
        assert (said["policy"], said["of"]) == (slate["policy"], len(shelf))
        assert not said["because_not"]
        ranks[sale] = said["rank"]
    best_first = sorted(ranks, key=lambda sale: -utility[column[sale]])
    assert [ranks[sale] for sale in best_first] == list(range(1, len(shelf) + 1))


def test_signals_are_the_value_models_the_weightiest_first(
    service: Service, bundle: Bundle
) -> None:
    said = why(service, on_shelf(bundle)[0])["signals"]
    assert {one["name"]: one["meaning"] for one in said} == PROVENANCE
    weights = [abs(one["adds"]) for one in said]
    assert weights == sorted(weights, reverse=True)
    taste = next(one for one in said if one["name"] == "taste")
    assert taste["adds"] == pytest.approx(1.5 * taste["value"], rel=1e-4)


def test_a_closed_sale_says_so_and_was_worth_something_while_it_was_open(
    service: Service, bundle: Bundle
) -> None:
    shop = bundle.parts.shop
    row = int(np.argmin(shop.closes_at))
    sale = str(bundle.parts.sales.ids[row])
    said = why(service, sale)
    assert "not on the shelf" in said["because_not"]
    assert (said["slot"], said["rank"], said["parts"], said["signals"]) == (None, None, {}, [])
    then = why(service, sale, at=iso(int(shop.opens_at[row])))
    assert not then["because_not"]
    assert set(then["parts"]) == set(PARTS[:-1])


@pytest.mark.parametrize("candidates", [200, 10])
def test_a_banned_sale_says_so_on_short_shelves_and_long_ones(
    dataset: Dataset, tmp_path: Path, candidates: int
) -> None:
    parts = parts_of(dataset)
    noon = int(parts.shop.opens_at.max())
    assert len(parts.shelves.at(noon)) > 10
    sale = str(parts.sales.ids[parts.shelves.at(noon).sales[0]])
    at = datetime.fromtimestamp(noon / 1e6, UTC)
    table = pl.DataFrame({
        "rule_id": ["r1"],
        "kind": ["ban"],
        "sale": [sale],
        "from_at": [at - timedelta(days=1)],
        "until_at": [at + timedelta(days=1)],
        "by": ["an editor"],
        "why": ["recalled"],
    })
    house = House(parts.info, Rules.of(table, **vocabs(parts.info)))
    spec = Blend(candidates=candidates, slots=3)
    publish_bundle(replace(parts, ranker=replace(parts.ranker, spec=spec, house=house)), tmp_path)
    service = Service(tmp_path)
    said = why(service, sale, slots=3, at=iso(noon))
    assert said["because_not"] == "banned by a rule of the house"
    slate = service.post("/v1/recommend", member=KNOWN, slots=3, at=iso(noon)).json()
    assert sale not in {place["sale"] for place in slate["sales"]}


def test_on_a_long_shelf_a_sale_may_not_have_been_in_question(
    dataset: Dataset, tmp_path: Path
) -> None:
    parts = parts_of(dataset)
    spec = Blend(candidates=10, slots=3)
    publish_bundle(replace(parts, ranker=replace(parts.ranker, spec=spec)), tmp_path)
    service = Service(tmp_path)
    noon = int(parts.shop.opens_at.max())
    shelf = parts.shelves.at(noon)
    said = [why(service, str(parts.sales.ids[sale]), slots=3, at=iso(noon)) for sale in shelf.sales]
    told = [one["because_not"] for one in said]
    assert told.count("") == 10 < len(told)
    assert {one for one in told if one} == {
        "not among the candidates: the shelf is long, and others are nearer"
    }


def test_who_withholds_consent_is_told_of_no_worth(service: Service, bundle: Bundle) -> None:
    said = why(service, on_shelf(bundle)[0], REFUSES)
    assert said["because_not"] == "the member has not agreed to slates of their own"
    assert (said["parts"], said["signals"], said["utility"]) == ({}, [], 0.0)


def test_what_nobody_knows_is_not_explained(service: Service, bundle: Bundle) -> None:
    sale = on_shelf(bundle)[0]
    refused(service.post("/v1/explain", member="nobody", sale=sale), 404, "unknown_member")
    refused(service.post("/v1/explain", member=KNOWN, sale="nothing"), 404, "unknown_sale")
    for body in ({"member": KNOWN}, {"sale": sale}, {"member": KNOWN, "sale": sale, "k": 1}):
        refused(service.post("/v1/explain", **body), 422, "invalid")
    early = iso(int(bundle.parts.shop.opens_at.min()) - 1)
    body = {"member": KNOWN, "sale": sale, "at": early}
    refused(service.post("/v1/explain", **body), 503, "shelf_empty")
