"""GF-CF against its paper's formula written densely."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from recsys.domain.arrays import F64
from recsys.domain.dataset import Dataset
from recsys.evaluate import smooth
from recsys.evaluate.smooth import Smooth
from tests.evaluate.hand import Ask, Did, Sale, Stand, instant, known_by, requests, shop

SALES, MEMBERS, FIT, NOW = 9, 14, 6.0, 10.0


def lived(seed: int) -> Dataset:
    rng = np.random.default_rng(seed)
    did = [
        Did(int(rng.integers(MEMBERS)), int(rng.integers(SALES - 1)), rng.uniform(0, NOW))
        for _ in range(60)
    ]
    return shop([Sale("a", "x")] * SALES, did, members=MEMBERS)


def past(data: Dataset, until: float) -> F64:
    matrix, history = np.zeros((MEMBERS, SALES)), data.history
    early = history.at < instant(until)
    matrix[history.member[early], history.sale[early]] = 1
    return matrix


def formula(then: F64, now: F64, *, rank: int, alpha: float) -> F64:
    """r R~^T R~ + alpha r D_i^-1/2 V V^T D_i^1/2; sales without engagement score 0."""
    known = then.any(axis=0)
    r, by_sale = then[:, known], then[:, known].sum(axis=0)
    tilde = r / np.sqrt(np.maximum(r.sum(axis=1), 1)[:, None] * by_sale)
    right = np.linalg.svd(tilde, full_matrices=False)[2][:rank]
    low = (right.T / np.sqrt(by_sale)[:, None]) @ (right * np.sqrt(by_sale))
    score = np.zeros_like(now)
    score[:, known] = now[:, known] @ (tilde.T @ tilde + alpha * low)
    return score


@pytest.mark.parametrize("full", [0.0, np.inf])
@pytest.mark.parametrize(("seed", "rank", "alpha"), [(1, 3, 0.3), (2, 1, 2.0), (3, 4, 0.0)])
def test_gf_cf_is_the_formula_of_its_paper(
    seed: int, rank: int, alpha: float, full: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smooth, "_FULL", full)
    data = lived(seed)
    engaged = known_by(data, FIT)
    found = Smooth.of(data.history, engaged, rank=rank, alpha=alpha)
    assert sparse.issparse(found.linear.weights) == (full > 1)
    shelf = (0, 2, 3, 7, 8)
    asked = requests(data, [Stand(NOW, shelf)], [Ask(member, {}) for member in range(MEMBERS)])
    expected = formula(past(data, FIT), past(data, NOW), rank=rank, alpha=alpha)
    score = found(asked, slice(0, MEMBERS))
    assert score.dtype == np.float32
    np.testing.assert_allclose(score, expected[:, shelf], atol=1e-5)
    assert (score[:, -1] == 0).all()


def test_a_shop_without_a_past_scores_nothing() -> None:
    data = shop([Sale("a")] * SALES, members=MEMBERS)
    engaged = known_by(data, FIT)
    found = Smooth.of(data.history, engaged, rank=3, alpha=0.3)
    asked = requests(data, [Stand(NOW, range(SALES))], [Ask(0, {})])
    assert (found(asked, slice(0, 1)) == 0).all()
