"""One rule for ties, everywhere: a seeded hash of the sale, never its row order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.domain.arrays import F64, I64


def splitmix64(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix 64-bit words so that each output bit depends on all input bits (Steele et al. 2014)."""
    # an array even if x is one number: numpy warns of overflow in numbers, and arrays wrap around
    x = np.asarray(np.add(x, np.uint64(0x9E3779B97F4A7C15)))
    # from here on in place: x is our own, and large arrays pay for every copy
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def keyed(*keys: np.ndarray | int) -> NDArray[np.uint64]:
    """Hash integers that broadcast against each other into uint64, the same on every machine."""
    mixed = np.zeros((), dtype=np.uint64)
    for key in keys:
        word = np.asarray(key).astype(np.int64).view(np.uint64)
        mixed = splitmix64(mixed ^ splitmix64(word))
    return mixed


def uniform(*keys: np.ndarray | int) -> F64:
    """Draw numbers in [0, 1) that depend on the keys alone (counter-based, 53 bits)."""
    return (keyed(*keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def tie_order(sales: np.ndarray, seed: int) -> I64:
    """Return the permutation I64[n] that ranks equal scores: by hash of (seed, sale)."""
    return np.argsort(keyed(seed, sales), kind="stable")
