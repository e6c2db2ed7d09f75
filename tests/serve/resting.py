"""Arrays of a bundle at rest, looked at."""

from __future__ import annotations

import numpy as np


def is_mapped(array: np.ndarray | None) -> bool:
    """Whether an array, or what it is a view of, is a file mapped into memory."""
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    return isinstance(array, np.memmap)
