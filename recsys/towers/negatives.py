"""Which sales a step compares with, and how often each could have been drawn (MODEL 3.2, 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, F64, I32, I64
from recsys.domain.requests import Requests
from recsys.domain.ties import keyed


def generator(*keys: int) -> np.random.Generator:
    """Return a counter-based generator that depends on the keys alone: (seed, epoch, step, ...).

    Neither rank nor device enters, so a run's draws do not change with the number of processes.
    """
    words = np.array([int(keyed(*keys)), int(keyed(*keys, 1))], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=words))


@dataclass(frozen=True)
class TargetShare:
    """p_j: the expected weight of each sale among the targets of a group's requests."""

    keys: I64
    """group * num_sales + sale, ascending."""
    share: F64
    num_sales: int

    @classmethod
    def of(cls, requests: Requests, num_sales: int) -> TargetShare:
        """Average the target weights over the requests of each group of the training part."""
        per_request = np.diff(requests.target_ptr)
        group = np.repeat(requests.group.astype(np.int64), per_request)
        keys, where = np.unique(group * num_sales + requests.target_sale, return_inverse=True)
        sums = np.bincount(where, weights=requests.target_weight, minlength=len(keys))
        sizes = np.bincount(requests.group, minlength=requests.num_groups)
        return cls(keys=keys, share=sums / sizes[keys // num_sales], num_sales=num_sales)

    def __call__(self, group: int, sales: I64 | I32) -> F64:
        """Return p of sales in a group, F64[k]; 0 for sales that are no target there."""
        if not len(self.keys):
            return np.zeros(len(sales))
        wanted = group * self.num_sales + sales.astype(np.int64)
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        found: F64 = np.where(self.keys[at] == wanted, self.share[at], 0.0)
        return found


def mixture(share: F64, *, in_batch: int, uniform: int, eligible: int) -> F64:
    """Return Q_j = M * p_j + N / eligible: how many columns of a pool are expected to hold j.

    Each column gets the Q of all sources that could have drawn it, so that the pool estimates the
    full sum once. Duplicates stay in the pool.
    """
    return in_batch * share + uniform / max(eligible, 1)


def in_batch_targets(requests: Requests, rows: I64, *, rng: np.random.Generator) -> I64:
    """Draw one target of each row by its weight; sale rows I64[rows that have targets]."""
    ptr, cells = ragged(requests.target_ptr, rows)
    total = np.concatenate(([0.0], np.cumsum(requests.target_weight[cells], dtype=np.float64)))
    first, last = ptr[:-1], ptr[1:]
    has = first < last
    first, last = first[has], last[has]
    wanted = total[first] + rng.random(len(first)) * (total[last] - total[first])
    drawn = np.clip(np.searchsorted(total, wanted, side="right") - 1, first, last - 1)
    sales: I64 = requests.target_sale[cells[drawn]].astype(np.int64)
    return sales


def ragged(ptr: I64, rows: I64) -> tuple[I64, I64]:
    """Return the pointers I64[rows + 1] and the cells I64[total] of some rows of a CSR array."""
    counts = ptr[rows + 1] - ptr[rows]
    starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    cells = np.repeat(ptr[rows] - starts[:-1], counts) + np.arange(starts[-1], dtype=np.int64)
    return starts, cells


@dataclass(frozen=True)
class Archive:
    """Uniform draws from all sales launched before an instant."""

    sales: I64
    """I64[draws]."""
    offset: float
    """o_j that gives the archive its share of the denominator under equal scores."""


def archive(
    launched: int, shelf_size: int, *, share: float, draws: int, rng: np.random.Generator
) -> Archive:
    """Draw from the first `launched` sales by opening; none while nothing has closed.

    o_j = log(share / (1 - share) * |shelf| / closed) - log(draws / launched): the share wanted,
    divided by the draws expected of each sale.
    """
    closed = launched - shelf_size
    if min(closed, draws, shelf_size) <= 0 or share <= 0:
        return Archive(sales=np.zeros(0, dtype=np.int64), offset=0.0)
    wanted = np.log(share / (1 - share) * shelf_size / closed)
    return Archive(
        sales=rng.integers(0, launched, size=draws),
        offset=float(wanted - np.log(draws / launched)),
    )


def log_q(share: F64, *, in_batch: int, uniform: int, eligible: int) -> F32:
    """Return log Q of the mixture, -inf where nothing could draw the sale, F32[k]."""
    expected = mixture(share, in_batch=in_batch, uniform=uniform, eligible=eligible)
    with np.errstate(divide="ignore"):
        return np.log(expected).astype(np.float32)
