"""Validation on the training device: each request ranks its whole shelf (MODEL 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from recsys.domain.arrays import F64, I64, Bool
from recsys.domain.events import DAY
from recsys.domain.requests import Requests
from recsys.domain.ties import tie_order
from recsys.towers.negatives import ragged
from recsys.towers.resident import Resident
from recsys.towers.vectors import Vectors

_Parts: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""u [n, D] and v [s, D] -> their scores [n, s], and what is added to these, [n, s] or [s]."""
TOP = 10
_CELLS, _LINES = 4_000_000, 1_000_000
"""Scores that exist at once, and of these those that targets are compared with."""
_CLEARLY = 1.01
_COMPARED = 200_000_000
"""Pairs of a target and a sale on its shelf by which a factor is tried."""
_LOW_RANK, _HIGH_LIKENESS = 1.3, 0.95
"""Thresholds of the collapse detectors: beyond any healthy run seen so far."""


@dataclass(frozen=True)
class Score:
    """Means over the validation requests that have a target."""

    ndcg: float
    """nDCG@10 over whole shelves, binary."""
    recall: float
    """recall@10, divided by all targets."""
    day0_ndcg: float
    """nDCG@10 among the sales that opened in the 24 h before; NaN where no target is one."""
    rank: float
    """Effective rank of the members' vectors: exp(entropy of squared singular values)."""
    likeness: float
    """Mean |cosine| of random pairs of members."""

    def headline(self, task: str) -> float:
        """Return what chooses the epoch: day-0 nDCG for shelves where there is one, else nDCG."""
        return self.day0_ndcg if task == "shelf" and self.day0_ndcg == self.day0_ndcg else self.ndcg


UNJUDGED = Score(*[float("nan")] * 5)
"""Of an epoch that nothing was asked about."""


def warning(score: Score) -> str:
    """Say what looks like a collapse, in a few words; empty as a rule (MODEL 6)."""
    if score.rank < _LOW_RANK:
        return f"member vectors fill {score.rank:.1f} dimensions"
    if score.likeness > _HIGH_LIKENESS:
        return f"members are alike: mean |cosine| {score.likeness:.2f}"
    return ""


@dataclass(frozen=True)
class Hits:
    """Per request: DCG gains at 10 and hits at 10."""

    ndcg: F64
    recall: F64
    counted: Bool
    """Requests that have a target."""


def target_ranks(scores: Tensor, row: Tensor, column: Tensor, *, ties: Tensor) -> Tensor:
    """Return how many columns stand before each target, int64 [t].

    `scores` [n, s]; target t stands in (row, column). Equal scores stand in the order of `ties`
    [s], a permutation, so that a constant scorer ranks at random.
    """
    before = []
    step = max(1, _LINES // max(1, scores.shape[1]))
    for first in range(0, len(row), step):
        cells = slice(first, first + step)
        line = scores[row[cells]]
        own = line.gather(1, column[cells, None])
        earlier = ties < ties[column[cells]][:, None]
        before.append(((line > own) | ((line == own) & earlier)).sum(dim=1))
    return torch.cat(before) if before else torch.zeros(0, dtype=torch.int64)


def top_ranks(scores: Tensor, row: Tensor, column: Tensor, *, ties: Tensor) -> Tensor:
    """Return `target_ranks` where they are below TOP, and TOP elsewhere, int64 [t].

    Most targets of a long shelf stand below its tenth score; only the others are looked for.
    """
    ranks = torch.full_like(row, TOP)
    if not len(row):
        return ranks
    tenth = scores.topk(min(TOP, scores.shape[1]), dim=1).values[:, -1]
    near = scores[row, column] >= tenth[row]
    ranks[near] = target_ranks(scores, row[near], column[near], ties=ties).clamp_(max=TOP)
    return ranks


def hits(ranks: I64, ptr: I64) -> Hits:
    """Turn the ranks (0 = first) of each request's targets, cells [ptr[i], ptr[i + 1]), into hits.

    nDCG = sum of 1 / log2(rank + 2) over targets in the top 10, divided by the same sum of the
    ideal order (Jarvelin and Kekalainen 2002).
    """
    count = np.diff(ptr)
    inside = ranks < TOP
    discount = 1 / np.log2(np.arange(TOP) + 2.0)
    gain = np.where(inside, discount[np.minimum(ranks, TOP - 1)], 0.0)
    sums = np.concatenate(([0.0], np.cumsum(gain)))
    found = np.concatenate(([0], np.cumsum(inside)))
    ideal = np.cumsum(discount)[np.clip(count, 1, TOP) - 1]
    return Hits(
        ndcg=(sums[ptr[1:]] - sums[ptr[:-1]]) / ideal,
        recall=(found[ptr[1:]] - found[ptr[:-1]]) / np.maximum(count, 1),
        counted=count > 0,
    )


def validate(vectors: Vectors, requests: Requests, *, seed: int) -> Score:
    """Score a validation part; no request and no sale is sampled."""
    return each_louder(vectors, requests, (1.0,), seed=seed)[1.0]


def balance(
    vectors: Vectors, requests: Requests, factors: tuple[float, ...], *, seed: int, task: str
) -> tuple[float, Score]:
    """Return how much louder the bias ranks best, and the score it gives.

    What content and counts say of a sale and what the past says of a member are learned together,
    on sales of the past; which of the two carries over to later ones, validation knows better.
    The first factor stands unless another ranks better by one part in a hundred, judged on as many
    requests as cost little; the score is that of all.
    """
    width = (requests.shelf_end - requests.shelf_start)[requests.group]
    cost = int((np.diff(requests.target_ptr) * width).sum())
    every = max(1, cost // _COMPARED)
    some = requests.take(np.arange(0, len(requests), every))
    found = each_louder(vectors, some, factors, seed=seed)
    tried = {factor: score.headline(task) for factor, score in found.items()}
    best = max(tried, key=lambda factor: tried[factor])
    chosen = best if tried[best] > _CLEARLY * tried[factors[0]] else factors[0]
    if every == 1:
        return chosen, found[chosen]
    return chosen, each_louder(vectors, requests, (chosen,), seed=seed)[chosen]


def each_louder(
    vectors: Vectors, requests: Requests, factors: tuple[float, ...], *, seed: int
) -> dict[float, Score]:
    """Score a validation part with each factor on the sales' bias; vectors are made once."""
    last = vectors.unit_dims

    def parts(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        # a member's last coordinate is 1, so the bias adds to each score as it is
        return u @ v.T, v[:, last]

    times = tuple(factor - 1 for factor in factors)
    return dict(zip(factors, _each(vectors, requests, parts, times=times, seed=seed), strict=True))


def each_weight(
    vectors: Vectors, requests: Requests, weights: tuple[float, ...], *, seed: int
) -> list[Score]:
    """Score a validation part with each weight on the spectral coordinates; 0 = without them."""
    dim = vectors.net.spec.dim

    def parts(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return u[:, :dim] @ v[:, :dim].T, u[:, dim:] @ v[:, dim:].T

    return _each(vectors, requests, parts, times=weights, seed=seed)


def _each(
    vectors: Vectors, requests: Requests, parts: _Parts, *, times: tuple[float, ...], seed: int
) -> list[Score]:
    """Score a validation part with each multiple of what a part adds; all is computed once."""
    whole: list[list[Hits]] = [[] for _ in times]
    young: list[list[Hits]] = [[] for _ in times]
    units = []
    for group in np.unique(requests.group).tolist():
        shelf = requests.shelf(group).astype(np.int64)
        v = vectors.sales(shelf, int(requests.group_at[group]))
        everything = _Ranked(shelf, np.ones(len(shelf), dtype=np.bool_), seed)
        opened = vectors.resident.opens_at[shelf] > requests.group_at[group] - DAY
        fresh = _Ranked(shelf, opened, seed)
        for span in _spans(requests.rows(group), len(shelf)):
            u = vectors.requests(requests, span)
            units.append(u[:, : vectors.unit_dims])
            plain, added = parts(u, v)
            plain = unseen(plain, requests, span, resident=vectors.resident)
            for number, time in enumerate(times):
                scores = plain + time * added if time else plain
                whole[number].append(everything.hits(scores, requests, span))
                young[number].append(fresh.hits(scores, requests, span))
    effective, likeness = collapse(torch.cat(units))
    return [
        Score(*_means(every), _means(new)[0], effective, likeness)
        for every, new in zip(whole, young, strict=True)
    ]


def unseen(scores: Tensor, requests: Requests, span: slice, *, resident: Resident) -> Tensor:
    """Put -inf on what is no candidate of some requests of one group; scores [n, s]."""
    if not requests.exclude_seen:
        return scores
    device = scores.device
    row, event = (torch.from_numpy(a).to(device) for a in requests.past(span, resident.member_ptr))
    shelf = torch.from_numpy(requests.shelf(int(requests.group[span.start]))).to(device).long()
    place = torch.full((resident.num_sales,), -1, device=device)
    place[shelf] = torch.arange(len(shelf), device=device)
    column = place[resident.event_sale[event]]
    return scores.index_put((row[column >= 0], column[column >= 0]), scores.new_tensor(-torch.inf))


def _spans(rows: slice, width: int) -> list[slice]:
    step = max(1, _CELLS // max(1, width))
    return [
        slice(first, min(first + step, rows.stop)) for first in range(rows.start, rows.stop, step)
    ]


@dataclass(frozen=True)
class _Ranked:
    """The sales of a shelf that are ranked against each other."""

    shelf: I64
    wanted: Bool
    seed: int

    @cached_property
    def keep(self) -> I64:
        """Where they stand on the shelf, I64[k]."""
        return np.flatnonzero(self.wanted)

    @cached_property
    def place(self) -> I64:
        """Where each sale stands among them, I64[largest row + 1]; -1 = nowhere."""
        place = np.full(int(self.shelf.max(initial=0)) + 1, -1, dtype=np.int64)
        place[self.shelf[self.keep]] = np.arange(len(self.keep))
        return place

    @cached_property
    def order(self) -> I64:
        """In which order equal scores stand, I64[k]."""
        ties = np.empty(len(self.shelf), dtype=np.int64)
        ties[tie_order(self.shelf, self.seed)] = np.arange(len(self.shelf))
        return ties[self.keep]

    def hits(self, scores: Tensor, requests: Requests, span: slice) -> Hits:
        """Find the targets of some requests among the ranked sales; scores [n, s]."""
        ptr, cells = ragged(requests.target_ptr, np.arange(span.start, span.stop))
        column = self.place[requests.target_sale[cells]]
        row = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))[column >= 0]
        first = np.searchsorted(row, np.arange(len(ptr)))
        asked = (self.keep, self.order, row, column[column >= 0])
        keep, ties, *here = (torch.from_numpy(array).to(scores.device) for array in asked)
        # a copy of all scores would be the largest thing in memory
        ranked = scores if len(keep) == len(self.shelf) else scores[:, keep]
        return hits(top_ranks(ranked, *here, ties=ties).cpu().numpy(), first)


def _means(parts: list[Hits]) -> tuple[float, float]:
    """Return mean nDCG and recall over the requests that count; NaN where there is none."""
    counted = np.concatenate([part.counted for part in parts] or [np.zeros(0, dtype=np.bool_)])
    if not counted.any():
        return float("nan"), float("nan")
    ndcg = np.concatenate([part.ndcg for part in parts])[counted]
    recall = np.concatenate([part.recall for part in parts])[counted]
    return float(ndcg.mean()), float(recall.mean())


@torch.no_grad()
def collapse(units: Tensor, sample: int = 4096) -> tuple[float, float]:
    """Return effective rank and mean |cosine| of random pairs of unit vectors [n, d].

    Effective rank = exp(entropy of sigma^2 / sum) of the vectors as they are (Roy and Vetterli
    2007, on squared singular values).
    """
    if len(units) < 2:
        return float("nan"), float("nan")
    some = units[:: max(1, len(units) // sample)].float()
    energy = torch.linalg.eigvalsh(some.T @ some).clamp(min=0)
    share = energy / energy.sum().clamp(min=1e-12)
    entropy = -(share * share.clamp(min=1e-12).log()).sum()
    pairs = (some * some.roll(1, dims=0)).sum(dim=1).abs().mean()
    return float(entropy.exp()), float(pairs)
