"""Members like a member: the nearest by cosine, among those who consent, never the member."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recsys.domain.arrays import F32
from recsys.serve.bundle import Bundle
from tests.serve.asking import Service, refused

KNOWN, REFUSES = "m0003", "m0019"


@pytest.fixture(scope="module", name="service")
def _service(bundle: Bundle) -> Service:
    return Service(bundle.folder.parent)


def alike(service: Service, member: str, k: int) -> list[dict[str, Any]]:
    answer = service.post("/v1/similar", of="members", member=member, k=k)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["members"]
    return found


def cosines(bundle: Bundle, row: int) -> F32:
    """Of a member with each member, by all coordinates that have length 1 together."""
    unit = bundle.parts.members.vectors[:, : bundle.parts.unit_dims].astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    found: F32 = unit @ unit[row]
    return found


@pytest.mark.parametrize("k", [1, 7, 1000])
def test_they_are_those_of_brute_force(service: Service, bundle: Bundle, k: int) -> None:
    parts = bundle.parts
    for row in np.flatnonzero(parts.personalise)[:12].tolist():
        member = str(parts.members.ids[row])
        allowed = parts.personalise.copy()
        allowed[row] = False
        scores = cosines(bundle, row)
        order = np.flatnonzero(allowed)[np.argsort(-scores[allowed], kind="stable")][:k]
        found = alike(service, member, k)
        assert [one["member"] for one in found] == parts.members.ids[order].tolist()
        np.testing.assert_allclose([one["score"] for one in found], scores[order], atol=1e-5)


def test_nobody_is_like_themselves_and_who_withholds_consent_is_like_nobody(
    service: Service, bundle: Bundle
) -> None:
    parts = bundle.parts
    assert (~parts.personalise).sum() > 1
    withheld = set(parts.members.ids[~parts.personalise].tolist())
    for member in parts.members.ids.tolist():
        found = {one["member"] for one in alike(service, member, 1000)}
        assert member not in found
        assert not found & withheld
        assert len(found) == (0 if member in withheld else int(parts.personalise.sum()) - 1)


def test_it_is_asked_of_a_member_alone(service: Service) -> None:
    refused(service.post("/v1/similar", of="members", member="nobody"), 404, "unknown_member")
    for body in (
        {"of": "members"},
        {"of": "members", "sale": "s0001"},
        {"of": "members", "member": KNOWN, "sale": "s0001"},
        {"of": "members", "vector": [1.0] * 9},
        {"of": "brands", "member": KNOWN},
        {"of": "members", "member": KNOWN, "k": 1001},
    ):
        refused(service.post("/v1/similar", **body), 422, "invalid")


def test_the_answer_says_its_generation_and_instant(service: Service, bundle: Bundle) -> None:
    said = service.post("/v1/similar", of="members", member=KNOWN, k=2).json()
    assert set(said) == {"request_id", "generation", "at", "members"}
    assert said["generation"] == bundle.generation
    assert service.post("/v1/similar", of="members", member=REFUSES).json()["members"] == []
