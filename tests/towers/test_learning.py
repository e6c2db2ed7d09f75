from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.domain.arrays import F64, I64
from recsys.domain.requests import Requests
from recsys.towers.batches import past_of
from recsys.towers.column_vectors import ColumnVectors
from recsys.towers.fit import EpochRow, fit
from recsys.towers.losses import Ask, Planner
from recsys.towers.monitor import hits
from recsys.towers.noise import Noise
from recsys.towers.softmax import Kernel, chunked_softmax
from recsys.towers.spec import Full, LogQ, Sampled, TwoTower
from tests.towers.shops import Shop, job

SPEC = TwoTower(dim=16, epochs=5)


def best_of(shop: Shop, folder: Path, spec: TwoTower = SPEC) -> EpochRow:
    rows: list[EpochRow] = []
    fit(replace(job(shop, folder, spec), on_epoch=rows.append))
    return next(row for row in reversed(rows) if row.best)


def by_luck(requests: Requests, opens: I64) -> float:
    """Return the nDCG@10 of random orders of the sales of the last day."""
    rng, figures = np.random.default_rng(0), []
    for row in range(len(requests)):
        group = requests.group[row]
        shelf = requests.shelf(int(group))
        young = shelf[opens[shelf] > requests.group_at[group] - 86_400_000_000]
        cells = slice(requests.target_ptr[row], requests.target_ptr[row + 1])
        count = np.isin(requests.target_sale[cells], young).sum()
        if count:
            ranks = np.sort(rng.permutation(len(young))[:count])
            figures.append(hits(ranks, np.array([0, count])).ndcg[0])
    return float(np.mean(figures))


def without_content(shop: Shop) -> Shop:
    """Take all that is known of sales away but which is which."""
    sales = shop.encoded.sales
    nothing = replace(
        sales,
        ptr=np.zeros_like(sales.ptr),
        row=sales.row[:0],
        field=sales.field[:0],
        weight=sales.weight[:0],
        dense=np.zeros_like(sales.dense),
    )
    return Shop(shop.dataset, shop.blocks, replace(shop.encoded, sales=nothing))


def test_defaults_rank_new_sales_far_above_luck_and_content_makes_the_difference(
    shop: Shop, tmp_path: Path
) -> None:
    luck = by_luck(shop.blocks.validation, shop.dataset.opens_at)
    learned = best_of(shop, tmp_path / "content")
    free = SPEC.model_copy(update={"id": "free", "field_dropout": 0.0})
    ids = best_of(without_content(shop), tmp_path / "ids", free)
    assert learned.day0_ndcg_at_10 > luck + 0.12
    # counts of the first hours are worth much by themselves
    assert learned.day0_ndcg_at_10 > ids.day0_ndcg_at_10 + 0.03


def zipf(sales: int, rows: int) -> Requests:
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, sales + 1)
    target = rng.choice(sales, rows, p=share / share.sum())
    return Requests(
        group_at=np.array([100]),
        shelf_start=np.zeros(1, dtype=np.int64),
        shelf_end=np.array([sales]),
        shelf_sale=np.arange(sales, dtype=np.int32),
        shelf_curated=np.zeros(sales, dtype=np.bool_),
        member=np.zeros(rows, dtype=np.int32),
        at=np.full(rows, 100),
        group=np.zeros(rows, dtype=np.int32),
        history_end=np.zeros(rows, dtype=np.int64),
        target_ptr=np.arange(rows + 1),
        target_sale=target.astype(np.int32),
        target_kind=np.ones(rows, dtype=np.uint8),
        target_weight=np.ones(rows, dtype=np.float32),
        outcome_us=1,
    )


def learned_scores(shop: Shop, requests: Requests, loss: Sampled | Full) -> F64:
    """Learn one number a sale, the same for all members, from batches of 64 requests."""
    sales = int(requests.shelf_end[0])
    planner = Planner.of(
        requests, loss, opens_at=np.zeros(sales, dtype=np.int64), device=torch.device("cpu")
    )
    window = shop.resident.window(past_of(requests, np.zeros(64, dtype=np.int64)), length=1)
    scores = torch.zeros(sales, 1, requires_grad=True)
    optimizer = torch.optim.Adam([scores], lr=0.05)
    rng = np.random.default_rng(1)
    for step in range(400):
        rows = rng.choice(len(requests), 64, replace=False)
        plan = planner([Ask(0, rows, rows)], window, Noise.of(1, 0, step))
        v = ColumnVectors.of(scores[plan.sales])
        u = torch.ones(64, 1)
        loss_now = chunked_softmax(u, v, torch.ones(()), blocks=plan.blocks, kernel=Kernel())
        optimizer.zero_grad()
        loss_now.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
    learned: F64 = scores.detach().double().numpy()[:, 0]
    return learned


def ndcg(scores: F64, requests: Requests) -> float:
    rank = np.empty(len(scores), dtype=np.int64)
    rank[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    return float(hits(rank[requests.target_sale], requests.target_ptr).ndcg.mean())


@pytest.mark.parametrize("logq", ["classic", "refined"])
def test_without_its_correction_an_in_batch_loss_forgets_what_is_wanted_most(
    shop: Shop, logq: LogQ
) -> None:
    requests = zipf(sales=200, rows=2000)
    right = ndcg(
        learned_scores(shop, requests, Sampled(in_batch=64, uniform=0, logq=logq)), requests
    )
    off = ndcg(
        learned_scores(shop, requests, Sampled(in_batch=64, uniform=0, logq="off")), requests
    )
    full = ndcg(learned_scores(shop, requests, Full()), requests)
    assert off < 0.8 * right
    assert right > 0.95 * full
