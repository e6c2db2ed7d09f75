from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.domain.arrays import NONE
from recsys.domain.embeddings import Embeddings
from recsys.domain.ties import keyed
from recsys.retrieval.alike import alike, build_alike
from recsys.retrieval.exact import scores_of
from recsys.retrieval.measure import recall
from recsys.retrieval.spec import Exact, Hnsw, Ivf, Pq, Retrieval
from tests.retrieval.test_index import KINDS, vectors_of

UNIT = 8


def members_of(num: int, seed: int = 0) -> Embeddings:
    """Unit vectors, some of them more than once, and a last coordinate that likeness leaves out."""
    rng = np.random.default_rng(seed)
    unit = vectors_of(num, seed, dim=UNIT)[rng.integers(0, num, num)]
    rest = 100 * rng.normal(size=(num, 1)).astype(np.float32)
    return Embeddings(
        ids=np.array([f"m{row}" for row in range(num)]),
        vectors=np.concatenate((unit, rest), axis=1),
        unit_dims=UNIT,
        fingerprint="model",
    )


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num=st.integers(1, 120),
    k=st.integers(1, 12),
    share=st.sampled_from([0.3, 1.0]),
    masked=st.booleans(),
)
def test_those_alike_are_the_nearest_others_by_the_unit_part(
    *, seed: int, num: int, k: int, share: float, masked: bool
) -> None:
    rng, members = np.random.default_rng(seed), members_of(num, seed)
    rows = rng.integers(0, num, 5)
    allowed = rng.random(num) < (share if masked else 1)
    index = build_alike(Exact(), members)
    found = alike(index, rows, k, allowed=allowed if masked else None)
    hashes = keyed(0, np.arange(num))
    for place, row in enumerate(rows.tolist()):
        scores = scores_of(members.unit[[row]], members.unit)[0]
        others = [one for one in np.flatnonzero(allowed).tolist() if one != row]
        others.sort(key=lambda one: (-scores[one], int(hashes[one])))
        assert found.sales[place].tolist() == (others + [NONE] * k)[:k]
        assert found.scores[place, : len(others)].tolist() == scores[others[:k]].tolist()


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)
def test_nobody_is_alike_to_themselves_by_any_index(spec: Retrieval) -> None:
    members = members_of(1500, 3)
    rows = np.arange(0, 1500, 11)
    found = alike(build_alike(spec, members), rows, 7)
    assert (found.sales != rows[:, None]).all()
    assert (found.sales != NONE).all()


@pytest.mark.parametrize(
    ("spec", "least"),
    [(Exact(), 1.0), (Hnsw(), 0.95), (Pq(), 0.95), (Ivf(probes=40), 0.95)],
    ids=str,
)
def test_recall_of_likeness_leaves_each_member_out_of_their_own_answer(
    spec: Retrieval, least: float
) -> None:
    members = members_of(3000, 4)
    assert recall(build_alike(spec, members), np.arange(0, 3000, 30)) >= least
