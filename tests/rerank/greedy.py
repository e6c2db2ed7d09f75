"""One slate at a time, by the definition of each kind of re-ranker, in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recsys.domain.arrays import F32, F64, I64, NONE
from recsys.rerank.calibrated import Calibrated
from recsys.rerank.diversity import Mmr, Reranker, ShelfView
from recsys.rerank.dpp import Dpp
from recsys.rerank.offer import Offer
from recsys.rerank.policy import SlatePolicy
from recsys.rerank.spec import Blend, Spaced
from recsys.rerank.ssd import Ssd
from recsys.rerank.utility import parts
from tests.rerank.hand import no_draws


def picks_of(reranker: Reranker[Any], unit: F32, relevance: F32 | int) -> tuple[F32, I64]:
    """Relevance of one member (drawn by a seed if not given) and the columns of their 6 slots."""
    num = len(unit)
    if isinstance(relevance, int):
        relevance = np.random.default_rng(relevance).random(num).astype(np.float32)
    nothing = np.zeros((1, num), dtype=np.float32)
    one = np.ones((1, 1), dtype=np.float32)
    offer = Offer(
        parts=parts(relevance[None], nothing, fatigue=one, boost=one, novelty=0.0),
        eligible=np.ones((1, num), dtype=np.bool_),
        # dpp's scale of relevance is its deviation; mmr and ssd of others take it as it is
        sigma=one * (relevance.std() if isinstance(reranker, Dpp) else 1),
        view=ShelfView(unit[None], 1),
        brand=np.arange(num)[None],
        category=np.full((1, num), NONE),
    )
    columns = SlatePolicy(6, reranker).act(offer, no_draws(1, 6)).columns[0]
    return relevance, columns[columns != NONE]


def gains_by_hand(
    offer: Offer, member: int, chosen: Sequence[int], reranker: Any, spec: Blend | Spaced
) -> dict[int, float]:
    """What each sale that may come next would add to one member's slate, one by one."""
    lead = min(member, len(offer.brand) - 1)
    brand, category = offer.brand[lead], offer.category[lead]
    apart = spec.apart if isinstance(spec, Spaced) else 1
    free = [
        s
        for s in np.flatnonzero(offer.eligible[member]).tolist()
        if s not in chosen
        and (not spec.max_per_brand or _times(brand, chosen, s) < spec.max_per_brand)
    ]
    near = {int(category[i]) for i in chosen[max(0, len(chosen) - apart + 1) :]} - {NONE}
    free = [s for s in free if apart == 1 or int(category[s]) not in near] or free
    utility = offer.parts.utility()[member]
    scale = float(offer.sigma[member, 0]) * reranker.weight
    return {
        s: float(utility[s]) + scale * added_by_hand(offer.view, member, chosen, s, reranker)
        for s in free
    }


def added_by_hand(
    view: ShelfView, member: int, chosen: Sequence[int], sale: int, reranker: Any
) -> float:
    """What a sale adds to one slate, by the definition of each kind, in double precision."""
    unit = view.unit[min(member, len(view.unit) - 1)].astype(np.float64)
    match reranker:
        case Mmr():
            return -max((float(unit[sale] @ unit[i]) for i in chosen), default=0.0)
        case Dpp():
            return _log_det(unit[[*chosen, sale]]) - _log_det(unit[list(chosen)])
        case Ssd(window=window):
            return _length_beside(unit, chosen, sale, window) - 1
        case Calibrated():
            assert view.category is not None
            assert view.mix is not None
            category = view.category[min(member, len(view.category) - 1)]
            wanted = view.mix[member, :-1].astype(np.float64)
            slates = category[list(chosen)], category[[*chosen, sale]]
            before, after = (_divergence(wanted, slate) for slate in slates)
            return before - after
    return 0.0


def _log_det(vectors: F64) -> float:
    return float(np.linalg.slogdet(vectors @ vectors.T + 1e-4 * np.eye(len(vectors)))[1])


def _length_beside(unit: F64, chosen: Sequence[int], sale: int, window: int) -> float:
    """The length of a sale beside the directions that the last chosen ones brought in."""
    directions: list[F64] = []
    for one in chosen:
        new = unit[one] - sum(float(unit[one] @ d) * d for d in directions)
        directions = [*directions, new / np.linalg.norm(new)][-window:]
    beside = unit[sale] - sum(float(unit[sale] @ d) * d for d in directions)
    return float(np.linalg.norm(beside))


def _divergence(wanted: F64, category: I64) -> float:
    """KL(p, .99 q + .01 p) of a slate whose sales have these categories."""
    counts = np.array([float((category == g).sum()) for g in range(len(wanted))])
    q = counts / max(len(category), 1)
    p, q = wanted[wanted > 0], q[wanted > 0]
    return float((p * np.log(p / (0.99 * q + 0.01 * p))).sum())


def _times(brand: I64, chosen: Sequence[int], sale: int) -> int:
    return sum(int(brand[i] == brand[sale]) for i in chosen)
