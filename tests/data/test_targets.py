from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.targets import Outcomes
from recsys.domain.arrays import I64
from recsys.domain.events import KIND_WEIGHTS

ENGAGEMENTS = np.flatnonzero(KIND_WEIGHTS > 0)
triples = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 4), st.sampled_from(ENGAGEMENTS.tolist())),
    max_size=40,
)


def columns(rows: list[tuple[int, int, int]]) -> tuple[I64, I64, I64]:
    request, sale, kind = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return request, sale, kind


def outcomes(rows: list[tuple[int, int, int]]) -> Outcomes:
    request, sale, kind = columns(rows)
    return Outcomes.strongest(request, sale.astype(np.int32), kind.astype(np.uint8))


def test_a_higher_kind_never_says_less_about_taste() -> None:
    assert (np.diff(KIND_WEIGHTS[ENGAGEMENTS]) >= 0).all()


@given(triples)
def test_each_sale_of_a_request_counts_once_with_its_strongest_event(
    rows: list[tuple[int, int, int]],
) -> None:
    best = dict[tuple[int, int], int]()
    for request, sale, kind in rows:
        best[request, sale] = max(kind, best.get((request, sale), 0))
    found = outcomes(rows)
    pairs = zip(found.request.tolist(), found.sale.tolist(), strict=True)
    assert list(zip(pairs, found.kind.tolist(), strict=True)) == sorted(best.items())


@given(triples)
def test_the_weights_of_a_request_sum_to_one(rows: list[tuple[int, int, int]]) -> None:
    found = outcomes(rows)
    requests, ptr = found.rows()
    weights = found.weights()
    assert requests.tolist() == sorted({request for request, _, _ in rows})
    for first, last in pairwise(ptr):
        assert abs(weights[first:last].sum() - 1) < 1e-6


@given(triples.filter(bool))
def test_repeating_every_event_changes_no_weight(rows: list[tuple[int, int, int]]) -> None:
    assert (outcomes(rows + rows).weights() == outcomes(rows).weights()).all()


def test_a_purchase_weighs_eight_looks() -> None:
    assert outcomes([(0, 0, 1), (0, 1, 6)]).weights().tolist() == [
        np.float32(1 / 9),
        np.float32(8 / 9),
    ]
