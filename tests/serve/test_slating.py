from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recsys.domain.slates import Slates
from recsys.serve.bundle import Bundle
from recsys.serve.parts import BundleParts
from tests.serve.asking import Service
from tests.serve.crowds import CROWD, crowd_of, plain


@pytest.fixture(name="service")
def _service(bundle: Bundle) -> Service:
    return Service(bundle.folder.parent)


def test_a_crowd_gets_its_slates_in_few_passes_and_the_same_as_each_alone(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    made = BundleParts.slates

    def counted(self: BundleParts, members: np.ndarray, *args: Any, **more: Any) -> Slates:
        passes.append(len(members))
        return made(self, members, *args, **more)

    monkeypatch.setattr(BundleParts, "slates", counted)
    bodies = [{"member": f"m{number % 60:04d}", "slots": 4} for number in range(CROWD)]
    bodies[7] = {"member": "nobody", "slots": 4}
    together = crowd_of(service, "/v1/recommend", bodies)
    assert len(passes) <= 4
    assert {answer.status_code for answer in together} == {200}
    passes.clear()
    alone = [service.post("/v1/recommend", **body) for body in bodies]
    assert set(passes) == {1}
    assert [plain(answer) for answer in together] == [plain(answer) for answer in alone]
    assert len({answer.json()["request_id"] for answer in together}) == CROWD


def test_slates_of_other_ways_are_not_mixed(service: Service) -> None:
    ways: list[dict[str, Any]] = [
        {"slots": 3},
        {"slots": 5},
        {"slots": 3, "novelty": 0.0},
        {"slots": 3, "exclude": ["s0003"]},
    ]
    bodies = [{"member": f"m{number:04d}", **ways[number % 4]} for number in range(40)]
    for body, answer in zip(bodies, crowd_of(service, "/v1/recommend", bodies), strict=True):
        assert plain(answer) == plain(service.post("/v1/recommend", **body))


def test_a_full_queue_is_503_without_a_slate(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(bundle.folder.parent, waiting=8)
    members: list[int] = []
    made = BundleParts.slates

    def counted(self: BundleParts, rows: np.ndarray, *args: Any, **more: Any) -> Slates:
        members.extend(rows.tolist())
        return made(self, rows, *args, **more)

    monkeypatch.setattr(BundleParts, "slates", counted)
    bodies = [{"member": f"m{number % 60:04d}"} for number in range(CROWD)]
    answers = crowd_of(service, "/v1/recommend", bodies)
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) == CROWD - 8
    for answer in refused:
        assert (answer.status_code, answer.json()["error"]) == (503, "overloaded")
        assert answer.headers["retry-after"] == "1"
    assert len(members) <= 8
    metrics = service.client.get("/metrics").text
    assert f'recsys_rejected_total{{reason="overloaded"}} {len(refused)}.0' in metrics
    assert "recsys_queue_depth 0.0" in metrics
