"""Arrays of a bundle at rest: a file each, mapped into memory when they are opened, not read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def save(folder: Path, **arrays: np.ndarray) -> None:
    """Write arrays into a new folder, each into a file of its name."""
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def mapped(folder: Path, name: str) -> Any:
    """Return an array that can be read alone; pages of it come and go with the system's cache."""
    array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    # what holds nothing is not worth a file that stays open
    return np.asarray(array) if array.size else np.zeros(array.shape, dtype=array.dtype)
