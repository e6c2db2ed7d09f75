"""The best sales for a whole audience, exactly, streamed in blocks of members."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Literal

import numpy as np
import torch

from recsys.domain.arrays import F32, I32, NONE
from recsys.domain.candidates import Candidates
from recsys.domain.errors import DeviceError, SettingError
from recsys.towers.device import cores, resolve
from recsys.towers.offer import Filters, Offer
from recsys.towers.pick import Picker, Plan, Sifted
from recsys.towers.spec import Cpu

__all__ = ["Block", "Filters", "Search", "blocks", "recall", "top_k"]
NOTHING = Filters()
GPU_TILE = 8_192
"""Members in one product on a GPU: its cache is no limit, its memory is far away."""


@dataclass(frozen=True)
class Search:
    """How an audience is searched; all but `k`, `seed` and `precision` change speed alone."""

    k: int = 50
    """Sales for each member."""
    seed: int = 0
    """Of the order of equal scores."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """fp32 is exact. bf16 is approximate: the scores are products in bfloat16 (see `recall`)."""
    sieve: Literal["auto", "fp32", "bf16"] = "auto"
    """What an exact search sifts with first; auto is bf16 where the CPU has it natively."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where products are made; on a GPU `threads` is not asked."""
    threads: int = 0
    """0 is one a core."""
    tile: int = 0
    """Members in one product; 0 is as many as the cache holds."""
    block: int = 4_096
    """Members that are given back at a time."""

    def __post_init__(self) -> None:
        """Refuse counts below their least."""
        for name, least in (("k", 1), ("threads", 0), ("tile", 0), ("block", 1)):
            if (found := getattr(self, name)) < least:
                raise SettingError(f"{name} is {found}; it is {least} at least")


@dataclass(frozen=True)
class Block:
    """The best sales of neighbouring members."""

    first: int
    """Row of the first member."""
    sales: I32
    """Sale rows, I32[b, k], best first, padded with NONE: half the bytes of Candidates."""
    scores: F32
    """F32[b, k], -inf where there is no sale."""

    def candidates(self) -> Candidates:
        """Return them as the floors above know them."""
        return Candidates(sales=self.sales.astype(np.int64), scores=self.scores)


def blocks(
    members: F32, sales: F32, search: Search, *, filters: Filters = NOTHING
) -> Iterator[Block]:
    """Yield the best sales of all members F32[m, d], in their order, from sales F32[n, d].

    Higher scores come first, equal ones by hash of (seed, sale row), as everywhere. A score is a
    float32 sum that depends on its two vectors alone, and each list is certified against it, so
    the answer has the same bits whatever tile, block, threads and sieve, and beside whatever other
    members; another kind of processor may round a sum differently. With `precision="bf16"` this
    holds for one tile size.

    Filters are applied before anything is chosen. `members` may be a memory-mapped file. While the
    caller writes a block, others are scored: at most two more than threads are held.

    Raises:
        ValueError: shapes do not fit, or numbers are not finite or too large for float32.
        DeviceError: no GPU is here.
    """
    if members.ndim != 2 or sales.ndim != 2 or members.shape[1] != sales.shape[1]:
        raise ValueError(f"members {list(members.shape)} and sales {list(sales.shape)} do not fit")
    filters.check(len(members), len(sales))
    offer = Offer.of(
        np.asarray(sales, dtype=np.float32), filters.open, seed=search.seed, device=_there(search)
    )
    threads = (search.threads or cores()) if search.device == "cpu" else 1
    pickers: SimpleQueue[Picker] = SimpleQueue()
    sifted, plan = Sifted.of(offer, _plan(search)), _plan(search)
    for _ in range(threads):
        pickers.put(Picker(sifted, plan, members=members, filters=filters))

    def picked(first: int) -> Block:
        picker = pickers.get()
        try:
            found = picker.pick(first, min(first + search.block, len(members)))
        finally:
            pickers.put(picker)
        return Block(first, *found)

    return _streamed(picked, range(0, len(members), search.block), threads)


def top_k(members: F32, sales: F32, search: Search, *, filters: Filters = NOTHING) -> Candidates:
    """Return what `blocks` yields, all at once."""
    found = [block.candidates() for block in blocks(members, sales, search, filters=filters)]
    empty = Candidates(
        sales=np.zeros((0, search.k), dtype=np.int64),
        scores=np.zeros((0, search.k), dtype=np.float32),
    )
    return Candidates(
        sales=np.concatenate([part.sales for part in [empty, *found]]),
        scores=np.concatenate([part.scores for part in [empty, *found]]),
    )


def recall(
    members: F32, sales: F32, search: Search, *, filters: Filters = NOTHING, sample: int = 2_000
) -> float:
    """Return which share of the exact lists a search finds, over members spread evenly.

    NaN where nobody has a list.
    """
    rows = np.unique(np.linspace(0, max(0, len(members) - 1), sample).astype(np.int64))
    rows = rows[: len(members)]
    few, narrowed = np.asarray(members[rows]), filters.take(rows)
    found = top_k(few, sales, search, filters=narrowed).sales
    wanted = top_k(few, sales, replace(search, precision="fp32"), filters=narrowed).sales
    # sales of different members are different numbers
    own = np.arange(len(rows))[:, None] * len(sales)
    known = wanted != NONE
    hit = np.isin((wanted + own)[known], (found + own)[found != NONE])
    return float(hit.mean()) if len(hit) else float("nan")


def _there(search: Search) -> str:
    if search.device == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            f"device=cuda wanted, no GPU found by torch {torch.__version__}",
            "search on the CPU: device=cpu",
        )
    return search.device


def _plan(search: Search) -> Plan:
    exact = search.precision == "fp32"
    # a GPU's product is never what takes the time
    native = search.device == "cpu" and resolve(Cpu()).low
    return Plan(
        k=search.k,
        exact=exact,
        low=not exact or search.sieve == "bf16" or (search.sieve == "auto" and native),
        way="host" if search.device == "cpu" else "device",
        tile=search.tile or (0 if search.device == "cpu" else GPU_TILE),
    )


def _streamed(
    picked: Callable[[int], Block], firsts: Iterable[int], threads: int
) -> Iterator[Block]:
    """Yield blocks in order while others are made, each by one thread with one thread of BLAS."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    waiting: deque[Future[Block]] = deque()
    try:
        for first in firsts:
            waiting.append(pool.submit(picked, first))
            if len(waiting) > threads + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
