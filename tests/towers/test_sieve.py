"""The sieve is as far from the scores as it says, and a score is the same wherever it is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.towers.sieve import Sieve, _folded
from recsys.towers.twolevel import Deal
from tests.towers.searching import normal, scored_whole


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    dim=st.integers(1, 130),
    size=st.sampled_from([1e-12, 1e-3, 1.0, 1e6]),
    low=st.booleans(),
    kind=st.sampled_from(["normal", "just below the next bfloat16", "one large"]),
)
def test_no_score_is_further_from_the_sieve_than_it_says(
    seed: int, dim: int, size: float, low: bool, kind: str
) -> None:
    members, sales = normal(4, dim, seed=seed) * size, normal(50, dim, seed=seed + 1)
    if kind == "just below the next bfloat16":
        # every operand is rounded by the most there is, all to one side
        members = np.full_like(members, 1 + 2**-8) * np.float32(size)
        sales = np.full_like(sales, 1 + 2**-8)
    if kind == "one large":
        sales[0] *= 1000
    vectors, deal = torch.from_numpy(sales), Deal(50, 2)
    sieve, rows = Sieve(vectors, deal, low=low), torch.from_numpy(members)
    cut = rows.to(sieve.kind)
    product = sieve.scores(cut, torch.empty(4, deal.places, dtype=sieve.kind)).float()
    product = product[:, deal.place(torch.arange(50))]
    score = torch.from_numpy(scored_whole(members, sales))
    above = torch.stack([sieve.above(rows, cut, left=left) for left in product.T], dim=1)
    below = -torch.stack([sieve.above(rows, cut, left=-left) for left in product.T], dim=1)
    assert (score <= above).all()
    assert (score >= below).all()


@pytest.mark.parametrize("dim", [1, 2, 7, 64, 65, 130])
def test_a_score_is_the_product_of_its_two_vectors(dim: int) -> None:
    members, sales = normal(20, dim), normal(30, dim, seed=1)
    truth = members.astype(np.float64) @ sales.astype(np.float64).T
    most = np.linalg.norm(members, axis=1)[:, None] * np.linalg.norm(sales, axis=1)
    every = torch.arange(30).repeat(20, 1)
    folded = _folded(torch.from_numpy(members), torch.from_numpy(sales), every).numpy()
    for scores in (scored_whole(members, sales), folded):
        assert (np.abs(scores - truth) <= dim * 2.0**-24 * most).all()
