from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recsys.domain.arrays import F32
from recsys.domain.candidates import Candidates
from recsys.retrieval.index import Index
from recsys.serve import front
from recsys.serve.asks import AskSimilar
from recsys.serve.bundle import Bundle
from recsys.serve.likeness import sales_like
from recsys.serve.parts import BundleParts
from tests.serve.asking import Service
from tests.serve.crowds import crowd_of, plain


@pytest.fixture(name="service")
def _service(bundle: Bundle) -> Service:
    return Service(bundle.folder.parent)


def test_a_crowd_of_searches_is_few_searches_and_finds_what_each_alone_finds(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[int] = []
    search = Index.search

    def counted(self: Index, queries: F32, k: int, **more: Any) -> Candidates:
        searches.append(len(queries))
        return search(self, queries, k, **more)

    monkeypatch.setattr(Index, "search", counted)
    monkeypatch.setattr(front, "LONG", 10)
    rng = np.random.default_rng(4)
    bodies: list[dict[str, Any]] = [
        {"vector": rng.standard_normal(9).tolist(), "k": 5, "scope": "archive"} for _ in range(40)
    ]
    bodies += [{"sale": f"s{number:04d}", "k": 4, "scope": "archive"} for number in range(20)]
    together = crowd_of(service, "/v1/similar", bodies)
    assert len(searches) <= 6
    assert sum(searches) == len(bodies)
    alone = [service.post("/v1/similar", **body) for body in bodies]
    assert [plain(answer) for answer in together] == [plain(answer) for answer in alone]
    for body, answer in zip(bodies, together, strict=True):
        assert body.get("sale") not in {near["sale"] for near in answer.json()["sales"]}


def test_searching_with_many_finds_what_searching_without_the_sale_itself_does(
    parts: BundleParts,
) -> None:
    num, shelf = parts.shop.num_sales, parts.shelves.at(parts.decided_at)
    for row in range(0, num, 7):
        asked = AskSimilar(sale=str(parts.info["sale"][row]), k=6, scope="archive")
        found = sales_like(parts, asked, shelf)
        others = np.ones(num, dtype=np.bool_)
        others[row] = False
        query = np.zeros((1, parts.sales.dim), dtype=np.float32)
        query[0, : parts.unit_dims] = parts.sales.unit[row]
        right = parts.index.search(query, 6, allowed=others)
        assert found.sales.tolist() == right.sales.tolist()
        assert found.scores.tolist() == right.scores.tolist()


def test_errors_of_a_search_are_told_before_it_waits(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "LONG", 10)
    assert service.post("/v1/similar", sale="nothing", scope="archive").status_code == 404
    assert service.post("/v1/similar", vector=[1.0], scope="archive").status_code == 422
