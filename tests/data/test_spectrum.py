from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from recsys.data import spectrum
from recsys.data.spectrum import Engaged, Filter, right_vectors
from recsys.domain.arrays import F64, I64
from recsys.domain.events import Events
from recsys.domain.requests import Requests
from recsys.domain.shelf import Shelf

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


def dense(history: Events) -> F64:
    """Who engaged with what, 0 or 1, [members, sales]."""
    matrix = np.zeros((MEMBERS, SALES))
    matrix[history.member, history.sale] = 1
    return matrix


def normalised(matrix: F64) -> F64:
    """D_u^-1/2 R D_i^-1/2 as GF-CF's paper writes it; no column is empty."""
    by_member, by_sale = matrix.sum(axis=1), matrix.sum(axis=0)
    tilde: F64 = matrix / np.sqrt(np.maximum(by_member, 1)[:, None] * by_sale)
    return tilde


def block(history: Events, past: I64, outcomes: Mapping[int, Sequence[int]]) -> Requests:
    """One request a member that knows so many of their events, and some outcomes."""
    everyone = np.arange(MEMBERS, dtype=np.int32)
    shelf = Shelf(at=0, sales=np.arange(SALES, dtype=np.int32), curated=np.zeros(SALES, dtype=bool))
    end = history.member_ptr[:-1] + np.minimum(past, np.diff(history.member_ptr))
    count = [len(outcomes.get(member, ())) for member in range(MEMBERS)]
    return replace(
        Requests.now(everyone, shelf, end),
        target_ptr=np.concatenate(([0], np.cumsum(count))),
        target_sale=np.array([s for m in sorted(outcomes) for s in outcomes[m]], dtype=np.int32),
    )


def known(history: Events, *, most: int | None = None) -> Engaged:
    """All that happened."""
    whole = block(history, np.full(MEMBERS, INSTANTS), {})
    return Engaged.of(history, whole, num_sales=SALES, most=most)


def test_engagements_count_once_and_as_far_as_the_requests_of_the_block_tell() -> None:
    history = lived()
    past = np.arange(MEMBERS) % 7
    outcomes = {3: [SALES - 1, 5], 8: [5]}
    found = Engaged.of(history, block(history, past, outcomes), num_sales=SALES)
    expected = np.zeros((MEMBERS, SALES))
    for member, count in enumerate(past):
        own = history.sale[history.member == member][:count]
        expected[member, own] = 1
        expected[member, outcomes.get(member, [])] = 1
    seen = expected.any(axis=0)
    assert np.array_equal(found.place >= 0, seen)
    np.testing.assert_array_equal(found.matrix.toarray(), expected[:, seen])
    np.testing.assert_array_equal(found.by_sale(), expected[:, seen].sum(axis=0))
    np.testing.assert_allclose(
        found.normalised().toarray(), normalised(expected[:, seen]), rtol=1e-5
    )


def test_of_a_later_block_nothing_is_known_even_at_the_same_instant() -> None:
    history = replace(lived(), at=np.zeros(len(lived()), dtype=np.int64))
    none = Engaged.of(
        history, block(history, np.zeros(MEMBERS, dtype=np.int64), {}), num_sales=SALES
    )
    assert none.matrix.shape == (MEMBERS, 0)
    one = Engaged.of(history, block(history, np.ones(MEMBERS, dtype=np.int64), {}), num_sales=SALES)
    assert one.matrix.nnz == (np.diff(history.member_ptr) > 0).sum()


def test_only_the_sales_of_most_members_are_known_where_there_is_a_limit() -> None:
    history = lived()
    found = known(history, most=7)
    counts = dense(history).sum(axis=0)
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
    engaged = known(history)
    matrix = dense(history)[:, engaged.place >= 0]
    _, strength, right = np.linalg.svd(normalised(matrix), full_matrices=False)
    rank = 5
    assert strength[rank - 1] > 1.02 * strength[rank]
    low, root = Filter.low_pass(engaged, rank), np.sqrt(matrix.sum(axis=0))
    expected = (right[:rank].T / root[:, None]) @ (right[:rank] * root)
    np.testing.assert_allclose(low.past @ low.sale.T, expected, atol=2e-4)


@pytest.mark.parametrize("ridge", [0.5, 20.0])
def test_the_weights_between_two_sales_are_those_of_ease(ridge: float) -> None:
    engaged = known(lived())
    found = Filter.ease(engaged, engaged.matrix.shape[1], ridge)
    matrix = engaged.matrix.toarray().astype(np.float64)
    inverse = np.linalg.inv(matrix.T @ matrix + ridge * np.eye(matrix.shape[1]))
    both, expected = found.past @ found.sale.T, -inverse / np.diagonal(inverse)
    # EASE leaves out what a sale says of itself
    np.fill_diagonal(both, 0)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(both, expected, atol=1e-4)
    few = Filter.ease(engaged, 3, ridge)
    assert few.past.shape == few.sale.shape == (engaged.matrix.shape[1], 3)
    _, strength, right = np.linalg.svd(matrix, full_matrices=False)
    low = (right[:3].T * (strength[:3] ** 2 / (strength[:3] ** 2 + ridge))) @ right[:3]
    np.testing.assert_allclose(few.past @ few.sale.T, low / (1 - np.diagonal(low)), atol=1e-3)


def test_the_vectors_are_orthonormal_and_the_same_each_time() -> None:
    matrix = known(lived()).normalised()
    (once, power), (again, _) = right_vectors(matrix, 6), right_vectors(matrix, 6)
    assert np.array_equal(once, again)
    lengths = np.linalg.norm(matrix @ once, axis=0)
    np.testing.assert_allclose(power, lengths**2, rtol=1e-4)
    assert (np.diff(power) <= 0).all()
    np.testing.assert_allclose(once.T @ once, np.eye(6), atol=1e-5)


def test_chunks_of_members_change_rounding_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = known(lived()).normalised()
    basis = np.random.default_rng(1).standard_normal((matrix.shape[1], 3)).astype(np.float32)
    whole = spectrum._squared(matrix, basis)
    monkeypatch.setattr(spectrum, "_CHUNK", 1)
    # at least as many members as sales stand in a chunk
    assert matrix.shape[0] > matrix.shape[1]
    np.testing.assert_allclose(spectrum._squared(matrix, basis), whole, atol=1e-5)


def test_directions_of_no_strength_are_left_out() -> None:
    two = np.zeros((6, 4), dtype=np.float32)
    two[:3, :2] = two[3:, 2:] = 1
    vectors, power = right_vectors(sparse.csr_array(two), 4)
    assert vectors.shape == (4, 2)
    np.testing.assert_allclose(power, [6, 6], rtol=1e-5)
    assert right_vectors(sparse.csr_array(two[:, :0]), 4)[0].shape == (0, 0)
