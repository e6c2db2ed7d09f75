from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.seen import first_contacts
from recsys.domain.events import DAY
from recsys.domain.ties import tie_order
from recsys.evaluate.metrics import Relevant, ranking
from recsys.towers import embed, monitor
from recsys.towers.embed import Embedder
from recsys.towers.monitor import (
    Score,
    balance,
    collapse,
    each_louder,
    hits,
    target_ranks,
    top_ranks,
    unseen,
    validate,
    warning,
)
from recsys.towers.vectors import Vectors
from tests.towers.shops import SMALL, Shop, shaken


def score(**figures: float) -> Score:
    healthy = {"ndcg": 0.5, "recall": 0.5, "day0_ndcg": 0.4, "rank": 9.0, "likeness": 0.3}
    return Score(**(healthy | figures))


def test_figures_of_a_case_counted_by_hand() -> None:
    ranks, ptr = np.array([0, 2, 10, 4]), np.array([0, 2, 2, 4])
    found = hits(ranks, ptr)
    discounts = 1 / np.log2(np.arange(10) + 2)
    ideal = discounts[0] + discounts[1]
    assert found.counted.tolist() == [True, False, True]
    assert found.recall.tolist() == [1, 0, 0.5]
    assert found.ndcg[[0, 2]].tolist() == pytest.approx([
        (discounts[0] + discounts[2]) / ideal,
        discounts[4] / ideal,
    ])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 9999))
def test_figures_are_those_of_the_report(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 15, 8)
    ranks = np.concatenate([rng.choice(40, n, replace=False) for n in counts]).astype(np.int64)
    found = hits(ranks, np.concatenate(([0], np.cumsum(counts))))
    ones = np.ones(len(ranks))
    relevant = Relevant(np.repeat(np.arange(8), counts), 8, ones, ones > 0, ones)
    theirs = ranking(relevant, ranks.astype(np.float64) + 1, (10,))
    np.testing.assert_allclose(found.ndcg[found.counted], theirs["ndcg_at_10"][found.counted])
    np.testing.assert_allclose(found.recall[found.counted], theirs["recall_at_10"][found.counted])
    assert np.array_equal(np.isnan(theirs["recall_at_10"]), ~found.counted)


def test_equal_scores_stand_in_the_order_of_ties() -> None:
    ties = torch.tensor([2, 0, 1])
    row, column = torch.zeros(3, dtype=torch.int64), torch.arange(3)
    assert target_ranks(torch.zeros(1, 3), row, column, ties=ties).tolist() == [2, 0, 1]
    scores = torch.tensor([[1.0, 0.0, 1.0]])
    assert target_ranks(scores, row, column, ties=ties).tolist() == [1, 2, 0]


def test_validation_is_the_ranking_of_whole_shelves_by_the_exported_scores(
    shop: Shop, trained: Path
) -> None:
    net, requests = shaken(shop.net(SMALL), seed=3), shop.blocks.validation
    vectors = Vectors(net, shop.resident)
    ndcg, recall, young = [], [], []
    for row in range(len(requests)):
        group = int(requests.group[row])
        shelf, at = requests.shelf(group).astype(np.int64), int(requests.group_at[group])
        scores = vectors.requests(requests, slice(row, row + 1)) @ vectors.sales(shelf, at).T
        ties = np.empty(len(shelf))
        ties[tie_order(shelf, 1)] = np.arange(len(shelf))
        order = shelf[np.lexsort((ties, -scores[0].numpy()))]
        cells = slice(requests.target_ptr[row], requests.target_ptr[row + 1])
        targets = requests.target_sale[cells]
        fresh = shop.dataset.opens_at > at - DAY
        ndcg.append(ndcg_by_hand(order, targets))
        recall.append(np.isin(order[:10], targets).sum() / len(targets))
        if fresh[targets].any():
            young.append(ndcg_by_hand(order[fresh[order]], targets[fresh[targets]]))
    found = validate(vectors, requests, seed=1)
    assert found.ndcg == pytest.approx(np.mean(ndcg), abs=1e-6)
    assert found.recall == pytest.approx(np.mean(recall), abs=1e-6)
    assert found.day0_ndcg == pytest.approx(np.mean(young), abs=1e-6)


def ndcg_by_hand(order: np.ndarray, targets: np.ndarray) -> float:
    discounts = 1 / np.log2(np.arange(10) + 2)
    gains = np.isin(order[:10], targets)
    return float((gains * discounts[: len(gains)]).sum() / discounts[: len(targets)].sum())


def test_day0_chooses_the_epoch_of_shelves_and_all_sales_that_of_catalogues() -> None:
    assert score().headline("shelf") == pytest.approx(0.4)
    assert score().headline("endless") == pytest.approx(0.5)
    assert score(day0_ndcg=float("nan")).headline("shelf") == pytest.approx(0.5)


def test_a_planted_collapse_is_seen_and_a_healthy_cloud_is_not() -> None:
    source = torch.Generator().manual_seed(0)
    cloud = torch.nn.functional.normalize(torch.randn(500, 16, generator=source), dim=1)
    rank, likeness = collapse(cloud)
    assert rank == pytest.approx(16, rel=0.05)
    assert likeness == pytest.approx(np.sqrt(2 / np.pi / 16), abs=0.05)
    assert not warning(score(rank=rank, likeness=likeness))
    same = cloud[:1] + 0.01 * cloud
    rank, likeness = collapse(torch.nn.functional.normalize(same, dim=1))
    assert rank == pytest.approx(1, abs=0.05)
    assert "dimensions" in warning(score(rank=rank))
    assert "alike" in warning(score(likeness=likeness))


def test_a_trained_net_is_no_collapse(shop: Shop, trained: Path) -> None:
    embedder = Embedder(embed.load(trained), shop.dataset, shop.encoded)
    found = validate(embedder.vectors, shop.blocks.validation, seed=1)
    assert not warning(found)


def test_what_members_knew_is_hidden_from_validation_as_from_the_judge(shop: Shop) -> None:
    vectors = Vectors(shaken(shop.net(SMALL), seed=3), shop.resident)
    requests = first_contacts(shop.blocks.validation, shop.dataset.history)
    rows = requests.rows(int(requests.group[0]))
    width = len(requests.shelf(int(requests.group[0])))
    scores = np.random.default_rng(0).random((rows.stop - rows.start, width), dtype=np.float32)
    hidden = unseen(torch.from_numpy(scores), requests, rows, resident=shop.resident).numpy()
    np.testing.assert_array_equal(hidden, requests.unseen(scores, rows, shop.dataset.history))
    assert np.isneginf(hidden).any()
    fair = validate(vectors, requests, seed=1).ndcg
    assert fair > validate(vectors, replace(requests, exclude_seen=False), seed=1).ndcg


def test_a_louder_bias_is_that_of_a_net_that_has_one(shop: Shop) -> None:
    net, requests = shaken(shop.net(SMALL)), shop.blocks.validation
    found = each_louder(Vectors(net, shop.resident), requests, (1.0, 4.0), seed=1)
    assert found[1.0] == validate(Vectors(net, shop.resident), requests, seed=1)
    assert found[1.0] != found[4.0]
    net.sale_tower.loudness.fill_(4.0)
    assert validate(Vectors(net, shop.resident), requests, seed=1) == found[4.0]


def test_on_a_part_of_the_requests_the_louder_bias_is_judged_on_all(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, requests = Vectors(shaken(shop.net(SMALL)), shop.resident), shop.blocks.validation
    whole = each_louder(vectors, requests, (1.0, 4.0), seed=1)
    monkeypatch.setattr(monitor, "_COMPARED", 100)
    factor, score = balance(vectors, requests, (1.0, 4.0), seed=1, task="shelf")
    assert score == whole[factor]


@pytest.mark.parametrize(
    ("known", "chosen"),
    [
        ({1.0: 0.3, 0.5: 0.2, 4.0: 0.4, 8.0: 0.35}, 4.0),
        # a hair more is no reason
        ({1.0: 0.3, 0.5: 0.302}, 1.0),
        ({2.0: 0.3, 1.0: 0.5}, 1.0),
        ({2.0: 0.3}, 2.0),
        ({1.0: math.nan, 2.0: math.nan}, 1.0),
    ],
)
def test_the_bias_speaks_as_loudly_as_ranks_clearly_better(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, known: dict[float, float], chosen: float
) -> None:
    def pretend(*_given: object, seed: int) -> dict[float, Score]:
        assert seed == 1
        return {factor: Score(value, 0.0, math.nan, 9.0, 0.1) for factor, value in known.items()}

    monkeypatch.setattr(monitor, "each_louder", pretend)
    vectors = Vectors(shop.net(SMALL), shop.resident)
    factor, score = balance(vectors, shop.blocks.validation, tuple(known), seed=1, task="shelf")
    assert factor == pytest.approx(chosen)
    assert score.ndcg == pytest.approx(known[chosen], nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), width=st.integers(1, 40), values=st.integers(1, 30))
def test_the_first_ten_places_are_those_of_the_whole_order(
    seed: int, width: int, values: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = torch.from_numpy(rng.integers(0, values, (5, width)).astype(np.float32))
    row = torch.from_numpy(rng.integers(0, 5, 20))
    column = torch.from_numpy(rng.integers(0, width, 20))
    ties = torch.from_numpy(rng.permutation(width))
    whole = target_ranks(scores, row, column, ties=ties)
    assert torch.equal(top_ranks(scores, row, column, ties=ties), whole.clamp(max=10))
