"""An audience, its filters, and the best by a full sort."""

from __future__ import annotations

import numpy as np
import torch

from recsys.domain.arrays import F32, NONE, Bool
from recsys.domain.candidates import Candidates
from recsys.domain.ties import keyed
from recsys.towers.offer import Filters, Offer
from recsys.towers.pick import Picker, Plan, Sifted
from recsys.towers.sieve import quiet, scores_at

NOTHING = Filters()
PLANS = {
    "float32 sieve": Plan(k=1, exact=True, low=False, way="host"),
    "bfloat16 sieve": Plan(k=1, exact=True, low=True, way="host"),
    "as a GPU selects": Plan(k=1, exact=True, low=False, way="device", tile=3),
    "bfloat16 as a GPU selects": Plan(k=1, exact=True, low=True, way="device"),
    "approximate": Plan(k=1, exact=False, low=True, way="host"),
    "approximate, as a GPU selects": Plan(k=1, exact=False, low=True, way="device", tile=3),
}


def found(
    members: F32, sales: F32, plan: Plan, *, filters: Filters = NOTHING, seed: int = 0
) -> Candidates:
    offer = Offer.of(sales, filters.open, seed=seed, device="cpu")
    rows, scores = Picker(Sifted.of(offer, plan), plan, members=members, filters=filters).pick(
        0, len(members)
    )
    return Candidates(rows.astype(np.int64), scores)


def allowed(filters: Filters, members: int, sales: int) -> Bool:
    may = np.ones((members, sales), dtype=np.bool_)
    if filters.open is not None:
        may &= filters.open
    if filters.consent is not None:
        may &= filters.consent[:, None]
    if filters.seen_ptr is not None and filters.seen_sale is not None:
        may[np.repeat(np.arange(members), np.diff(filters.seen_ptr)), filters.seen_sale] = False
    return may


def sorted_whole(scores: F32, may: Bool, k: int, *, seed: int = 0) -> list[list[int]]:
    hashes = keyed(seed, np.arange(scores.shape[1]))
    ranked = [
        sorted(np.flatnonzero(fine).tolist(), key=lambda n: (-row[n], int(hashes[n])))
        for row, fine in zip(scores, may, strict=True)
    ]
    return [(row + [NONE] * k)[:k] for row in ranked]


def scored_whole(members: F32, sales: F32) -> F32:
    quiet()
    every = torch.arange(len(sales)).repeat(len(members), 1)
    scores: F32 = scores_at(torch.from_numpy(members), torch.from_numpy(sales), every).numpy()
    return scores


def normal(*shape: int, seed: int = 0) -> F32:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def some_filters(rng: np.random.Generator, members: int, sales: int) -> Filters:
    many = rng.integers(0, sales // 2 + 1, members) * (rng.random(members) < 0.6)
    seen = [rng.choice(sales, n, replace=False) for n in many]
    return Filters(
        open=rng.random(sales) < 0.8,
        consent=rng.random(members) < 0.8,
        seen_ptr=np.concatenate(([0], np.cumsum(many))).astype(np.int64),
        seen_sale=np.concatenate([*seen, []]).astype(np.int32),
    )
