from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from recsys.data import spectrum
from recsys.data.spectrum import Engaged, LowPass, right_vectors
from recsys.domain.arrays import F64
from recsys.domain.events import Events

MEMBERS, SALES, INSTANTS = 60, 40, 100


def lived(seed: int = 0) -> Events:
    """Members who each like one of four blocks of sales, at instants 0 to 99."""
    rng = np.random.default_rng(seed)
    rows = []
    for member in range(MEMBERS):
        at = np.sort(rng.integers(INSTANTS, size=rng.integers(0, 20)))
        own = 10 * (member % 4) + rng.integers(10, size=len(at))
        sale = np.where(rng.random(len(at)) < 0.7, own, rng.integers(SALES - 1, size=len(at)))
        rows.append((at, sale))
    n = sum(len(at) for at, _ in rows)
    return Events(
        sale=np.concatenate([sale for _, sale in rows]).astype(np.int32),
        at=np.concatenate([at for at, _ in rows]),
        kind=np.ones(n, dtype=np.uint8),
        channel=np.zeros(n, dtype=np.uint8),
        flags=np.zeros(n, dtype=np.uint8),
        value=np.zeros(n, dtype=np.float32),
        member_ptr=np.concatenate(([0], np.cumsum([len(at) for at, _ in rows]))),
    )


def dense(history: Events, until: int) -> F64:
    """Who engaged with what before an instant, 0 or 1, [members, sales]."""
    matrix = np.zeros((MEMBERS, SALES))
    early = history.at < until
    matrix[history.member[early], history.sale[early]] = 1
    return matrix


def normalised(matrix: F64) -> F64:
    """D_u^-1/2 R D_i^-1/2 as GF-CF's paper writes it; no column is empty."""
    by_member, by_sale = matrix.sum(axis=1), matrix.sum(axis=0)
    tilde: F64 = matrix / np.sqrt(np.maximum(by_member, 1)[:, None] * by_sale)
    return tilde


@pytest.mark.parametrize("until", [30, INSTANTS])
def test_engagements_count_once_and_only_before_the_instant(until: int) -> None:
    history = lived()
    found, expected = Engaged.of(history, SALES, until=until), dense(history, until)
    known = expected.any(axis=0)
    assert np.array_equal(found.place >= 0, known)
    np.testing.assert_array_equal(found.matrix.toarray(), expected[:, known])
    np.testing.assert_array_equal(found.by_sale(), expected[:, known].sum(axis=0))
    np.testing.assert_allclose(
        found.normalised().toarray(), normalised(expected[:, known]), rtol=1e-5
    )


def test_only_the_most_popular_are_known_where_there_is_a_limit() -> None:
    history = lived()
    found = Engaged.of(history, SALES, until=INSTANTS, most=7)
    counts = np.bincount(history.sale, minlength=SALES)
    assert (found.place >= 0).sum() == found.matrix.shape[1] == 7
    assert counts[found.place >= 0].min() >= counts[found.place < 0].max()
    ascending = found.place[found.place >= 0]
    assert ascending.tolist() == list(range(7))


@pytest.mark.parametrize("spare", [4, 32])
def test_the_low_pass_is_that_of_a_dense_decomposition(
    spare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 32 spare directions span all sales at once, 4 have to be turned towards the strongest
    monkeypatch.setattr(spectrum, "SPARE", spare)
    monkeypatch.setattr(spectrum, "PASSES", 60)
    history = lived()
    engaged = Engaged.of(history, SALES, until=INSTANTS)
    matrix = dense(history, INSTANTS)[:, engaged.place >= 0]
    _, strength, right = np.linalg.svd(normalised(matrix), full_matrices=False)
    rank = 5
    assert strength[rank - 1] > 1.02 * strength[rank]
    low, root = LowPass.of(engaged, rank), np.sqrt(matrix.sum(axis=0))
    expected = (right[:rank].T / root[:, None]) @ (right[:rank] * root)
    np.testing.assert_allclose(low.past @ low.sale.T, expected, atol=2e-4)


def test_the_vectors_are_orthonormal_and_the_same_each_time() -> None:
    matrix = Engaged.of(lived(), SALES, until=INSTANTS).normalised()
    once, again = right_vectors(matrix, 6), right_vectors(matrix, 6)
    assert np.array_equal(once, again)
    np.testing.assert_allclose(once.T @ once, np.eye(6), atol=1e-5)


def test_chunks_of_members_change_rounding_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = Engaged.of(lived(), SALES, until=INSTANTS).normalised()
    basis = np.random.default_rng(1).standard_normal((matrix.shape[1], 3)).astype(np.float32)
    whole = spectrum._squared(matrix, basis)
    monkeypatch.setattr(spectrum, "_CHUNK", 1)
    # at least as many members as sales stand in a chunk
    assert matrix.shape[0] > matrix.shape[1]
    np.testing.assert_allclose(spectrum._squared(matrix, basis), whole, atol=1e-5)


def test_directions_of_no_strength_are_left_out() -> None:
    two = np.zeros((6, 4), dtype=np.float32)
    two[:3, :2] = two[3:, 2:] = 1
    assert right_vectors(sparse.csr_array(two), 4).shape == (4, 2)
    assert right_vectors(sparse.csr_array(two[:, :0]), 4).shape == (0, 0)
