"""Keys of ids, salted so that draws are independent, and what could have been shown as one number.

How an id becomes a key: `recsys.domain.keys`.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from recsys.domain.arrays import Bool
from recsys.domain.keys import BLOCK, U64, Ids, keys_of, murmur
from recsys.domain.ties import splitmix64

__all__ = ["BLOCK", "U64", "Ids", "eligible_hash", "key_of", "keys_of", "salted"]


def key_of(*words: str) -> np.uint64:
    """Return the key of some words of ours, in their order: a salt."""
    return np.uint64(murmur(pl.Series(["\x1f".join(words)]))[0])


def salted(keys: U64, salt: np.uint64) -> U64:
    """Draw 53-bit numbers U64[n] from keys; two salts draw independently."""
    return splitmix64(keys ^ salt) >> np.uint64(11)


def eligible_hash(keys: U64, eligible: Bool) -> U64:
    """Hash which sales each member could have been shown, U64[n], whatever their order.

    `keys` are of the sales' ids, U64[c] or U64[n, c]; `eligible` is Bool[n, c]. It is the
    sum modulo 2^64 of their keys, mixed once more; nothing eligible gives 0.
    """
    mixed = np.broadcast_to(splitmix64(keys), eligible.shape)
    total: U64 = np.where(eligible, mixed, np.uint64(0)).sum(axis=1, dtype=np.uint64)
    return total
