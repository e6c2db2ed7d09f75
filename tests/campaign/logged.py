"""Slates and sends made by hand, for the laws of the slate log."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl

from recsys.campaign.slate_log import Offered, Send, Served
from recsys.data.vocab import Vocab
from recsys.domain.arrays import F32, I64, NONE
from recsys.domain.events import Channel
from recsys.domain.slates import FLAG_EXPLORED, FLAG_PINNED, FLAG_REPAIRED, PARTS, Slates
from recsys.rerank.dial import CONTEXTS

MEMBERS, SALES = 40, 25
DECIDED = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)
NOON = datetime(2026, 11, 27, 11, tzinfo=UTC)


def send_of(name: str = "friday", *, groups: int = 2) -> Send:
    return Send(
        send_id=name,
        decided_at=DECIDED,
        delivered_for=NOON,
        channel=Channel.MAIL,
        bundle="b" * 16,
        seed=7,
        members=Vocab(pl.Series([f"m{row}" for row in range(MEMBERS)])),
        sales=Vocab(pl.Series([f"sale {row}" for row in range(SALES)])),
        curated=np.arange(SALES) % 5 == 0,
        served=tuple(
            Served(f"arm{n}", f"policy{n}", f"prices{n}" if n else None) for n in range(groups)
        ),
        group=(np.arange(MEMBERS) % groups).astype(np.int16),
        rules=("pin of Ada", "boost of Ben"),
    )


def slates_of(seed: int, members: I64, *, slots: int = 6, repairs: bool = True) -> Slates:
    """Draw slates of all lengths, of parts of all sizes, some of them flagged."""
    rng = np.random.default_rng(seed)
    shape = (len(members), slots)
    order = rng.permuted(np.tile(np.arange(SALES), (len(members), 1)), axis=1)[:, :slots]
    filled = np.arange(slots) < rng.integers(0, slots + 1, (len(members), 1))
    flags = rng.choice(
        np.array([0, 0, 0, FLAG_PINNED, FLAG_EXPLORED, FLAG_REPAIRED], dtype=np.uint8), shape
    )
    flags = np.where(filled & (repairs | (flags != FLAG_REPAIRED)), flags, np.uint8(0))
    sizes = 10.0 ** rng.integers(-6, 3, (*shape, len(PARTS)))
    chance = np.log(rng.random(shape)).astype(np.float32)
    nan: F32 = np.full(shape, np.nan, dtype=np.float32)
    return Slates(
        members=members,
        sales=np.where(filled, order, NONE),
        parts=np.where(filled[..., None], rng.normal(size=sizes.shape) * sizes, 0).astype(
            np.float32
        ),
        margin=rng.normal(size=shape).astype(np.float32),
        log_propensity=np.where(flags == FLAG_REPAIRED, nan, chance),
        reason=rng.integers(0, 13, shape).astype(np.uint8),
        evidence=rng.integers(NONE, SALES, shape),
        flags=flags,
    )


def offered_for(slates: Slates, seed: int = 0) -> Offered:
    """Draw what stands beside some slates."""
    rng = np.random.default_rng(seed)
    n = len(slates.members)
    return Offered(
        new=rng.random(slates.sales.shape).astype(np.float32),
        eligible_count=rng.integers(0, SALES, n),
        eligible_hash=rng.integers(0, 2**64, n, dtype=np.uint64),
        verdict=rng.choice(np.array([0, 0, 0, 1, 2, 4], dtype=np.uint8), n),
        rule=rng.integers(NONE, 2, slates.sales.shape, dtype=np.int32),
        dial=rng.choice(np.array([np.nan, 0, 0.7], dtype=np.float32), n),
        dial_own=rng.choice(np.array([np.nan, 0, 0.7], dtype=np.float32), n),
        context=rng.integers(NONE, len(CONTEXTS), n),
        by_dial=np.log(rng.random((*slates.sales.shape, 6))).astype(np.float32),
    )
