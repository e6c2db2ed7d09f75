"""What stands in an answer adds up, and names chance and policy as the slate log does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.domain.dataset import Dataset
from recsys.rerank.spec import Blend
from recsys.rerank.value import Logistic
from recsys.runs.slates_plan import policies_of
from recsys.runs.slates_seat import seated
from recsys.serve.bundle import Bundle, open_bundle, publish_bundle
from tests.serve.asking import Service
from tests.serve.conftest import parts_of

KNOWN = "m0003"


@pytest.fixture(scope="module", name="drawn")
def _drawn(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its slates are drawn, and the last slot often from what little is known of."""
    parts = parts_of(dataset)
    spec = Blend(temperature=0.3, explore_share=0.5)
    drawn = replace(parts, ranker=replace(parts.ranker, spec=spec))
    return open_bundle(publish_bundle(drawn, tmp_path_factory.mktemp("drawn")))


@pytest.fixture(scope="module", name="service")
def _service(drawn: Bundle) -> Service:
    return Service(drawn.folder.parent)


def of_all(service: Service, bundle: Bundle, rows: Any, name: str) -> list[list[Any]]:
    """One field of the places of all slates of some member rows."""
    ids = bundle.parts.members.ids[rows].tolist()
    said = service.post("/v1/recommend/batch", members=ids).json()["slates"]
    return [[place[name] for place in slate["sales"]] for slate in said]


def test_parts_add_up_to_the_gain_of_the_slot(service: Service, drawn: Bundle) -> None:
    rows = np.flatnonzero(drawn.parts.personalise)
    shelf = drawn.parts.shelves.at(drawn.parts.decided_at)
    slates = drawn.parts.slates(rows, shelf, slots=6)
    parts = [np.array(of_all(service, drawn, rows, name)) for name in ("taste", "new", "curated")]
    gains = np.array(of_all(service, drawn, rows, "gain"))
    np.testing.assert_array_equal(parts[0] + parts[1] + parts[2], gains)
    np.testing.assert_allclose(gains, slates.gains, rtol=1e-5, atol=1e-7)


def test_a_propensity_is_the_chance_of_the_draw(service: Service, drawn: Bundle) -> None:
    rows = np.flatnonzero(drawn.parts.personalise)
    shelf = drawn.parts.shelves.at(drawn.parts.decided_at)
    slates = drawn.parts.slates(rows, shelf, slots=6)
    chances = np.array(of_all(service, drawn, rows, "propensity"))
    np.testing.assert_allclose(chances, np.exp(slates.log_propensity), rtol=1e-5)
    assert 0 < chances.min() < 0.9
    flags = of_all(service, drawn, rows, "flags")
    assert any("explored" in place for slate in flags for place in slate)


def test_a_slate_for_all_is_certain(service: Service) -> None:
    said = service.post("/v1/recommend", member="nobody").json()
    assert {place["propensity"] for place in said["sales"]} == {1.0}


@pytest.mark.parametrize("slots", [3, 6])
def test_the_policy_is_named_as_the_slate_log_names_it(
    service: Service, drawn: Bundle, slots: int
) -> None:
    logged = policies_of(
        drawn, seated(drawn.parts, drawn.parts.decided_at, drawn.parts.as_asked(slots, None).spec)
    )[0]
    one = service.post("/v1/recommend", member=KNOWN, slots=slots).json()
    many = service.post("/v1/recommend/batch", members=[KNOWN], slots=slots).json()["slates"][0]
    assert one["policy"] == many["policy"] == drawn.policy(slots) == logged


def test_a_policy_has_another_name_with_another_value_model(
    dataset: Dataset, tmp_path: Path
) -> None:
    parts = parts_of(dataset)
    model = parts.ranker.value_model.model
    assert isinstance(model, Logistic)
    fitted = replace(parts.ranker.value_model, model=replace(model, offset=-2.0))
    other = replace(parts, ranker=replace(parts.ranker, value_model=fitted))
    first, second, again = (
        open_bundle(publish_bundle(one, tmp_path / str(turn))).policy(6)
        for turn, one in enumerate((parts, other, parts))
    )
    assert first == again != second
