"""Every field that may be asked for does what it says, on every rung of the ladder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from recsys.campaign.arms import HOLD_OUT, Arm, Experiment, assign
from recsys.data.asof import history_end
from recsys.domain.requests import Requests
from recsys.domain.shelf import Shelf
from recsys.domain.slates import Slates
from recsys.rerank.spec import Blend
from recsys.serve.bundle import Bundle, open_bundle, publish_bundle
from recsys.serve.front import iso
from recsys.serve.newcomer import Newcomer
from recsys.serve.parts import BundleParts
from recsys.serve.recommender import Recommender
from tests.builders import tiny_dataset
from tests.serve.asking import Service, refused
from tests.serve.welcoming import as_newcomer, whole
from tests.towers.carrying import Made, made
from tests.towers.shops import SMALL

KNOWN, STRANGER, REFUSES = "m0003", "nobody", "m0019"


@pytest.fixture(scope="module", name="one")
def _one() -> Made:
    return made(tiny_dataset(members=60, days=10, sales_a_day=8), SMALL)


@pytest.fixture(scope="module", name="lively")
def _lively(one: Made, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its slates are drawn, it tries what is new, and it sees newcomers."""
    parts = whole(one, Blend(temperature=0.3, explore_share=0.5, max_per_brand=0))
    return open_bundle(publish_bundle(parts, tmp_path_factory.mktemp("lively")))


@pytest.fixture(scope="module", name="service")
def _service(lively: Bundle) -> Service:
    return Service(lively.folder.parent)


def slate(service: Service, **asked: Any) -> dict[str, Any]:
    answer = service.post("/v1/recommend", **asked)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def sales(said: dict[str, Any]) -> list[str]:
    return [place["sale"] for place in said["sales"]]


def shelf_of(bundle: Bundle) -> Shelf:
    return bundle.parts.shelves.at(bundle.parts.decided_at)


def same(said: dict[str, Any], slates: Slates, parts: BundleParts) -> None:
    """What is said is a row of slates."""
    assert sales(said) == parts.sales.ids[slates.sales[0]].tolist()
    gains = [place["gain"] for place in said["sales"]]
    np.testing.assert_allclose(gains, slates.gains[0], rtol=1e-5)


@pytest.mark.parametrize("member", [KNOWN, STRANGER, REFUSES])
def test_at_decides_what_is_open_to_the_microsecond(
    service: Service, lively: Bundle, member: str
) -> None:
    shop, ids = lively.parts.shop, lively.parts.sales.ids
    sold_out = shop.sold_out(int(shop.closes_at.max()))
    row = int(np.flatnonzero(~sold_out)[20])
    opens, closes = int(shop.opens_at[row]), int(shop.closes_at[row])
    for at, is_open in ((opens - 1, False), (opens, True), (closes - 1, True), (closes, False)):
        said = slate(service, member=member, slots=200, at=iso(at))
        assert said["at"] == iso(at)
        assert (str(ids[row]) in sales(said)) == is_open, at


def test_at_is_an_instant_whatever_its_offset(service: Service, lively: Bundle) -> None:
    at = lively.parts.decided_at
    there = datetime.fromtimestamp(at / 1e6, UTC).astimezone(timezone(timedelta(hours=9)))
    by_offset = slate(service, member=KNOWN, at=there.isoformat())
    plain = slate(service, member=KNOWN)
    assert by_offset.pop("request_id") != plain.pop("request_id")
    assert by_offset == plain


def by_hand(parts: BundleParts, row: int, shelf: Shelf, *, novelty: float) -> Slates:
    """The slate of one member by the ranker with its dial there, four slots."""
    rows = np.array([row], dtype=np.int32)
    requests = Requests.now(rows, shelf, history_end(parts.shop.history, rows, np.array(shelf.at)))
    on_shelf = parts.sales.vectors[shelf.sales]
    ranker = parts.ranker.with_kernel(parts.sales.unit).with_slots(4).with_novelty(novelty)
    return ranker.slates(
        parts.shop,
        requests,
        requests.rows(0),
        taste=np.einsum("rd,sd->rs", parts.members.vectors[rows], on_shelf),
        unit=on_shelf[:, : parts.unit_dims],
    )


def test_the_dial_is_the_rankers(service: Service, lively: Bundle) -> None:
    parts, shelf = lively.parts, shelf_of(lively)
    row = int(parts.member_ids.rows([KNOWN])[0])
    answers = {
        dial: slate(service, member=KNOWN, slots=4, novelty=dial) for dial in (0.0, 2.5, 30.0)
    }
    for dial, said in answers.items():
        same(said, by_hand(parts, row, shelf, novelty=dial), parts)
        same(said, parts.slates(np.array([row]), shelf, slots=4, novelty=dial), parts)
        assert said["policy"] == lively.policy(4, dial)
    plain = slate(service, member=KNOWN, slots=4)
    same(plain, parts.slates(np.array([row]), shelf, slots=4), parts)
    assert len({said["policy"] for said in (*answers.values(), plain)}) == 4
    assert max(place["new"] for place in answers[0.0]["sales"]) <= 0, "variety alone"
    assert max(place["new"] for place in answers[30.0]["sales"]) > 0


def test_the_dial_turns_a_newcomers_slate_too(service: Service, lively: Bundle, one: Made) -> None:
    told = as_newcomer(one.dataset, 5)
    body = {"history": msgspec.to_builtins(told.history), "features": dict(told.features)}
    for dial in (0.0, 30.0):
        said = slate(service, **body, novelty=dial, slots=4)
        found = lively.parts.welcome(
            [msgspec.structs.replace(told, member="")], shelf_of(lively), slots=4, novelty=dial
        )
        assert found.slates is not None
        same(said, found.slates, lively.parts)


def newcomer(one: Made) -> dict[str, Any]:
    told = as_newcomer(one.dataset, 7)
    return {"history": msgspec.to_builtins(told.history)}


@pytest.mark.parametrize(
    ("rung", "asked"),
    [
        ("personalised", lambda _: {"member": KNOWN}),
        ("plain", lambda _: {"member": STRANGER}),
        ("plain", lambda _: {"member": REFUSES}),
        ("personalised", newcomer),
        ("personalised", lambda _: {"features": {}}),
    ],
)
@pytest.mark.parametrize("curated", [True, False])
def test_what_is_excluded_is_on_no_rung(
    lively: Bundle,
    one: Made,
    tmp_path: Path,
    *,
    rung: str,
    asked: Callable[[Made], dict[str, Any]],
    curated: bool,
) -> None:
    parts, none = lively.parts, np.zeros(0, dtype=np.int64)
    at = int(parts.shop.curated_from.max())
    if not curated:
        shop = replace(
            parts.shop,
            curated_sale=none.astype(np.int32),
            curated_from=none,
            curated_until=none,
        )
        parts = replace(parts, shop=shop, indexes=None)
    publish_bundle(parts, tmp_path)
    service, body = Service(tmp_path, clock=at), asked(one)
    everything = slate(service, **body, slots=200)
    wanted = {"plain": "curated" if curated else "newest"}.get(rung, rung)
    assert everything["fallback"] == wanted
    out = sales(everything)[::2]
    left = slate(service, **body, slots=200, exclude=[*out, "no such sale"])
    assert sorted(sales(left)) == sorted(set(sales(everything)) - set(out))
    assert left["short"]
    refused(service.post("/v1/recommend", **body, exclude=["x"] * 10_001), 422, "invalid")
    nothing = slate(service, **body, exclude=sales(everything))
    assert (nothing["sales"], nothing["short"]) == ([], True)


@pytest.mark.parametrize("told", ["history", "features", "both", "neither"])
def test_a_newcomer_gets_the_slate_of_the_parts(
    service: Service, lively: Bundle, one: Made, told: str
) -> None:
    who = msgspec.structs.replace(as_newcomer(one.dataset, 9), member="n1")
    if told in {"features", "neither"}:
        who = msgspec.structs.replace(who, history=())
    if told in {"history", "neither"}:
        who = msgspec.structs.replace(who, features={})
    said = slate(
        service,
        member="n1",
        slots=5,
        history=msgspec.to_builtins(who.history),
        features=dict(who.features),
    )
    found = lively.parts.welcome([who], shelf_of(lively), slots=5)
    assert found.slates is not None
    same(said, found.slates, lively.parts)
    assert said["fallback"] == "personalised"
    assert said["heard"] == msgspec.to_builtins(found.heard[0])
    assert (said["member"], said["because"]) == ("n1", "")


def test_who_is_described_must_be_described_rightly(service: Service) -> None:
    for body in (
        {"history": [{"kind": "sneeze", "at": 0}]},
        {"history": [{"kind": "view", "at": "noon", "sale": "s0001"}]},
        {"history": [{"kind": "view", "at": 1, "sale": "s0001", "colour": "red"}]},
        {"features": {"no such column": 1}},
        {"features": [1]},
        {},
    ):
        refused(service.post("/v1/recommend", **body), 422, "invalid")


@pytest.mark.parametrize("body", [{}, {"history": []}, {"features": {"region": "region 1"}}])
def test_who_withholds_consent_is_never_personalised(
    service: Service, body: dict[str, Any]
) -> None:
    said = slate(service, member=REFUSES, slots=5, **body)
    plain = slate(service, member=STRANGER, slots=5)
    assert said["fallback"] in {"curated", "newest"}
    assert said["sales"] == plain["sales"]
    assert said["heard"] is None


def test_many_are_asked_as_one_is(service: Service, lively: Bundle) -> None:
    at = iso(lively.parts.decided_at - 3_600_000_000)
    more = {"slots": 4, "at": at, "novelty": 2.0, "exclude": ["s0070"], "channel": "mail"}
    many = service.post("/v1/recommend/batch", members=[KNOWN, STRANGER, REFUSES], **more).json()
    for said in many["slates"]:
        alone = slate(service, member=said["member"], **more)
        assert {name: alone[name] for name in said} == said
        for name in ("at", "channel", "generation"):
            assert alone[name] == many[name]
        assert (alone["at"], alone["channel"]) == (at, "mail")


@pytest.mark.parametrize(
    "wrong",
    [
        {"at": "2026-04-01T12:00:00"},
        {"at": "noon"},
        {"at": 1_700_000_000},
        {"novelty": -0.1},
        {"novelty": 101},
        {"channel": "pigeon"},
        {"exclude": "s0001"},
        {"exclude": [""]},
        {"slots": 2.5},
        {"slots": "3"},
    ],
)
def test_a_field_out_of_its_bounds_is_refused_on_every_route(
    service: Service, wrong: dict[str, Any]
) -> None:
    refused(service.post("/v1/recommend", member=KNOWN, **wrong), 422, "invalid")
    refused(service.post("/v1/recommend/batch", members=[KNOWN], **wrong), 422, "invalid")
    refused(service.post("/v1/explain", member=KNOWN, sale="s0001", **wrong), 422, "invalid")


def test_a_plain_slate_names_the_policy_that_made_it(service: Service, lively: Bundle) -> None:
    own, plain = (slate(service, member=member, slots=4) for member in (KNOWN, STRANGER))
    assert own["policy"] == lively.policy(4)
    assert plain["policy"] == lively.policy(4, plain=True) != own["policy"]
    assert own["arm"] is plain["arm"] is None


def test_answers_say_the_arm_and_the_hold_out_gets_what_all_get(lively: Bundle) -> None:
    experiment = Experiment(name="dial", arms=(Arm(name="a"), Arm(name="b")))
    asked = Recommender(lively, arms=experiment)
    ids = pl.Series(lively.parts.members.ids).to_list()
    # the hold-out is one in a hundred for good: strangers are many enough to hold some
    many = ids + [f"stranger{number}" for number in range(400)]
    arms = [experiment.groups[row] for row in assign(many, experiment).tolist()]
    answers = asked.recommend(many, slots=4)
    assert [answer.arm for answer in answers] == arms
    assert {"a", "b", HOLD_OUT} <= set(arms)
    plain = asked.recommend(["nobody at all"], slots=4)[0]
    for answer, arm in zip(answers, arms, strict=True):
        if arm == HOLD_OUT:
            assert (answer.sales, answer.fallback) == (plain.sales, plain.fallback)
    stranger = next(one for one, arm in zip(many, arms, strict=True) if arm == HOLD_OUT)
    told = asked.welcome(Newcomer(member=stranger), slots=4)
    assert (told.arm, told.sales) == (HOLD_OUT, plain.sales)
