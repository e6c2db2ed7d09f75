"""Are logged chances true: python -m benchmarks.propensities [--quick].

A million slates are drawn for one member under each re-ranker, with a temperature and explorers,
under one of them with a drawn dial too. How often each sale stood in each slot is set against the
chances that `SlatePolicy.log_prob` gives to every sale after every beginning of a slate that was
drawn.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.cells import load_now, machine
from benchmarks.turns import Row, line
from recsys.domain.arrays import F32, F64, I64, NONE
from recsys.domain.ties import uniform
from recsys.rerank.calibrated import Calibrated
from recsys.rerank.diversity import Mmr, Reranker, ShelfView, TopK
from recsys.rerank.dpp import Dpp
from recsys.rerank.offer import Offer
from recsys.rerank.policy import SlatePolicy
from recsys.rerank.ssd import Ssd
from recsys.rerank.utility import Parts

SALES, SLOTS, CHUNK = 7, 3, 100_000
VARIETY: tuple[Reranker[Any], ...] = (TopK(), Mmr(), Dpp(), Ssd(), Calibrated())


def offer_of(num: int, *, seed: int = 3) -> Offer:
    """Return one member's offer, `num` times."""
    rng = np.random.default_rng(seed)
    amounts = np.zeros((6, num, SALES), dtype=np.float32)
    amounts[0] = rng.gamma(2, 0.02, SALES).astype(np.float32)
    dial = np.full(num, 0.7, dtype=np.float32)
    unit: F32 = rng.normal(size=(1, SALES, 8)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=2, keepdims=True)
    mix = np.zeros((num, 4), dtype=np.float32)
    mix[:, :3] = [0.6, 0.3, 0.1]
    category = (np.arange(SALES) % 3)[None].astype(np.int64)
    new = rng.choice(np.array([0, 0.5, 1], dtype=np.float32), SALES)
    return Offer(
        parts=Parts(amounts, amounts[0] * new).at(dial),
        dial=dial,
        eligible=np.ones((num, SALES), dtype=np.bool_),
        sigma=np.full((num, 1), 0.02, dtype=np.float32),
        view=ShelfView(unit, num, category, mix),
        brand=(np.arange(SALES) // 2)[None].astype(np.int64),
        category=category,
        pool=(np.arange(SALES) % 2 == 0)[None],
    )


def drawn(policy: SlatePolicy, num: int) -> I64:
    """Draw `num` slates, columns I64[num, SLOTS]."""
    offer = offer_of(CHUNK)
    made = []
    for first in range(0, num, CHUNK):
        member = np.arange(first, first + CHUNK)[:, None]
        draws = uniform(11, member, np.arange(policy.num_draws))
        made.append(policy.act(offer, draws).columns)
    return np.concatenate(made)[:num]


def chances(policy: SlatePolicy, beginnings: I64, slot: int) -> F64:
    """Return the chance of every sale in a slot, F64[k, SALES], after beginnings I64[k, slot]."""
    asked = np.full((len(beginnings), SALES, SLOTS), NONE, dtype=np.int64)
    asked[:, :, :slot] = beginnings[:, None, :]
    asked[:, :, slot] = np.arange(SALES)
    flat = asked.reshape(-1, SLOTS)
    found = np.exp(policy.log_prob(offer_of(len(flat)), flat)[:, slot].astype(np.float64))
    return found.reshape(len(beginnings), SALES)


def compared(policy: SlatePolicy, num: int) -> Iterator[tuple[F64, float]]:
    """Yield for each slot by how many standard errors sales are off, and sums from 1 at most."""
    columns = drawn(policy, num)
    for slot in range(SLOTS):
        beginnings, which = np.unique(columns[:, :slot], axis=0, return_inverse=True)
        table = chances(policy, beginnings, slot)
        counts = np.bincount(which.ravel(), minlength=len(beginnings))
        wanted, spread = counts @ table, counts @ (table * (1 - table))
        seen = np.bincount(columns[:, slot], minlength=SALES)
        off = np.where(spread > 0, (seen - wanted) / np.sqrt(np.maximum(spread, 1e-12)), 0.0)
        never = (wanted == 0) & (seen > 0)
        yield np.where(never, np.inf, off), float(np.abs(table.sum(axis=1) - 1).max())


def main() -> None:
    """Print one line a re-ranker, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100,000 slates instead of a million")
    num = 100_000 if parser.parse_args().quick else 1_000_000
    before, where = load_now(), machine("none")
    print(f"  {num:,} slates each: the most any sale of any slot is off; promised 4 errors")
    rows = []
    plain = {
        type(kind).__name__.lower(): SlatePolicy(SLOTS, kind, 0.7, 1, explore_share=0.1)
        for kind in VARIETY
    }
    drawn_dial = SlatePolicy(SLOTS, Mmr(), 0.1, 1, explore_share=0.1, dial_share=0.8)
    for name, policy in (plain | {"mmr, dial drawn": drawn_dial}).items():
        found = list(compared(policy, num))
        worst = max(float(np.abs(off).max()) for off, _ in found)
        sums = max(gap for _, gap in found)
        print(f"  {name:16}{worst:>8.2f} errors   sums to one within {sums:.1e}")
        rows.append(Row(f"errors, {name}", worst, "standard errors", worst, worst, num, bar=4))
    print(line("propensities", rows, machine=where, load=(before, load_now())))


if __name__ == "__main__":
    main()
