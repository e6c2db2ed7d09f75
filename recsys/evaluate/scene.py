"""What all scorers share on a chunk of requests: shelf, targets, pools, the members' past."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.stats import rankdata

from recsys.data.popularity import Popularity
from recsys.domain.arrays import F32, I32, I64, NONE, Bool
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY, HOUR, KIND_WEIGHTS, QUICK, Kind
from recsys.domain.requests import Requests
from recsys.evaluate.content import content
from recsys.evaluate.metrics import Relevant
from recsys.evaluate.past import Past, columns, known, marked, past, summed
from recsys.evaluate.ranking import U64, tie_bits

CELLS = 2_000_000
"""Cells of the widest matrix of a chunk: 16 MB of keys."""
COMPLEMENTS: Mapping[str, str] = {
    "day0": "older",
    "six_hours": "after_six_hours",
    "curated": "not_curated",
    "known_brand": "new_brand",
    "repeat": "first_contact",
}
"""Slices by sale: each pool of the shelf, and what is left of it."""


@dataclass(frozen=True)
class Stage:
    """What all chunks share; made once per judgement."""

    dataset: Dataset
    seed: int
    maker: I32
    """Brand of each sale (its category in a shop without brands), never NONE, I32[num_sales]."""
    nobody: int
    """The maker that stands for "not known", one past the last."""
    kind: I32
    """Category of each sale (brand in a shop without categories), I32[num_sales]."""
    unknown: int
    """The kind that stands for "not known"."""
    popularity: Popularity
    vectors: sparse.csr_array

    @classmethod
    def of(cls, dataset: Dataset, requests: Requests, seed: int) -> Stage:
        """Prepare the judgement of requests; content is weighed as known at the first."""
        brands = bool((dataset.brand != NONE).any())
        categories = bool((dataset.category != NONE).any())
        maker, nobody = closed(dataset.brand if brands else dataset.category)
        kind, unknown = closed(dataset.category if categories else dataset.brand)
        return cls(
            dataset=dataset,
            seed=seed,
            maker=maker,
            nobody=nobody,
            kind=kind,
            unknown=unknown,
            popularity=Popularity.of(dataset.history, dataset.num_sales),
            vectors=content(dataset, int(requests.at.min())),
        )

    def chunks(self, requests: Requests) -> Iterator[slice]:
        """Cut the requests into slices inside one group that bound each matrix to CELLS."""
        for group in range(requests.num_groups):
            rows = requests.rows(group)
            width = max(len(requests.shelf(group)), self.nobody, self.unknown, 1)
            step = max(CELLS // width, 1)
            for first in range(rows.start, rows.stop, step):
                yield slice(first, min(first + step, rows.stop))


@dataclass(frozen=True)
class Scene:
    """n requests before one shelf of s sales, with t targets."""

    sales: I32
    """I32[s]."""
    where: I64
    """Column of each of all sales, I64[num_sales]; -1 = not on the shelf."""
    ties: U64
    """U64[n, s]."""
    column: I64
    """Column of each target, I64[t]."""
    relevant: Relevant
    pools: Mapping[str, Bool]
    """Keys of COMPLEMENTS -> the sales of that pool, Bool[1 or n, s]; `six_hours` stands only
    where outcomes come within three."""
    percentile: F32
    """Place of each sale by engagements so far, 0.5 = the middle, F32[1 or n, s]."""
    own_mix: F32
    """Past weight of each member on each kind, F32[n, kinds + 1]."""
    kinds: I32
    """I32[s]."""
    vectors: sparse.csr_array
    """Content of the shelf, [s, words]."""
    hidden: Bool | None = None
    """What is no candidate though it is on the shelf, Bool[n, s]; None = all are."""

    @property
    def target(self) -> tuple[I64, I64]:
        """Rows and columns of the targets."""
        return self.relevant.request, self.column

    @property
    def new(self) -> Bool:
        """Sales of brands that are new to the member, Bool[n, s]."""
        return ~self.pools["known_brand"]

    def count(self, pool: Bool) -> I64:
        """Count the candidates of a pool Bool[1 or n, s], I64[n]."""
        if self.hidden is not None:
            pool = pool & ~self.hidden
        return np.broadcast_to(pool.sum(axis=1, dtype=np.int64), (self.relevant.num,))


def scene(stage: Stage, requests: Requests, rows: slice) -> Scene:
    """Set the scene of the requests `rows`, all of one group."""
    group = int(requests.group[rows.start])
    sales, shape = requests.shelf(group), (rows.stop - rows.start, len(requests.shelf(group)))
    where = columns(sales, stage.dataset.num_sales)
    before = past(stage.dataset.history, requests, rows)
    seen = as_of(stage.popularity, sales, requests.at[rows])
    first, last = requests.target_ptr[rows.start], requests.target_ptr[rows.stop]
    column = where[requests.target_sale[first:last]]
    own_mix = summed(
        (before.row, stage.kind[before.sale]), (shape[0], stage.unknown + 1), before.weight
    )
    pools = _pools(stage, requests, (group, before, where, shape))
    return Scene(
        sales=sales,
        where=where,
        ties=tie_bits(requests.member[rows], sales, stage.seed),
        column=column,
        relevant=_relevant(requests, rows, (column, seen)),
        pools=pools,
        percentile=((rankdata(seen, axis=1) - 0.5) / max(len(sales), 1)).astype(np.float32),
        own_mix=own_mix,
        kinds=stage.kind[sales],
        vectors=stage.vectors[sales],
        hidden=pools["repeat"] if requests.exclude_seen else None,
    )


def as_of(popularity: Popularity, sales: I32, at: I64, *, window_us: int | None = None) -> F32:
    """Count engagements with sales I32[s] before each instant I64[n]: F32[1 or n, s].

    One row where all instants are equal.
    """
    times, row = np.unique(at, return_inverse=True)
    counts = popularity.counts(sales[None, :], times[:, None], window_us)
    return counts if len(times) == 1 else counts[row]


def closed(codes: I32) -> tuple[I32, int]:
    """Give NONE a code of its own, one past the last, and return that code too."""
    last = int(codes.max(initial=NONE)) + 1
    return np.where(codes == NONE, last, codes).astype(np.int32), last


def _relevant(requests: Requests, rows: slice, cells: tuple[I64, F32]) -> Relevant:
    column, seen = cells
    ptr = requests.target_ptr[rows.start : rows.stop + 1]
    target = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    kind = requests.target_kind[ptr[0] : ptr[-1]]
    # inverse popularity may not explode: the rarest hundredth counts alike (MODEL 6)
    least = np.quantile(seen, 0.01, axis=1) if seen.size else np.zeros(len(seen))
    row = target if len(seen) > 1 else np.zeros_like(target)
    return Relevant(
        request=target,
        num=len(ptr) - 1,
        gain=KIND_WEIGHTS[kind].astype(np.float64),
        bought=kind == Kind.PURCHASE,
        seen=np.maximum(seen[row, column], least[row]).astype(np.float64) + 1,
    )


def _pools(
    stage: Stage, requests: Requests, given: tuple[int, Past, I64, tuple[int, int]]
) -> dict[str, Bool]:
    group, before, where, shape = given
    sales = requests.shelf(group)
    age = requests.group_at[group] - stage.dataset.opens_at[sales]
    again = where[before.sale] >= 0
    repeat = marked((before.row[again], where[before.sale[again]]), shape)
    young = {"day0": (age < DAY)[None, :]}
    if 1 < requests.outcome_us <= QUICK:
        young["six_hours"] = (age < 6 * HOUR)[None, :]
    return young | {
        "curated": requests.curated(group)[None, :],
        "known_brand": known(before, sales, maker=(stage.maker, stage.nobody), num=shape[0]),
        "repeat": repeat,
    }
