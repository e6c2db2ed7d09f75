"""Arrays in one file of raw bytes, which is mapped: for what is written, read once and replaced."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_STEP = 64
"""Bytes: the header and each array begin at a multiple of it."""


def pack(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays behind one line of JSON that has their names, types and shapes."""
    facts = {name: (array.dtype.str, array.shape) for name, array in arrays.items()}
    # a new file in its place: whoever has the old one mapped keeps it as it was
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with draft.open("wb") as file:
        file.write(_filled(json.dumps(facts).encode() + b"\n"))
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).data)
            file.write(bytes(-array.nbytes % _STEP))
    draft.replace(path)


def unpack(path: Path) -> dict[str, np.ndarray]:
    """Map the arrays of a file; they cannot be written to."""
    with path.open("rb") as file:
        facts = json.loads(file.readline())
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        start = file.tell() + -file.tell() % _STEP
    arrays = {}
    for name, (kind, shape) in facts.items():
        count = int(np.prod(shape))
        array = np.frombuffer(whole, dtype=kind, count=count, offset=start).reshape(shape)
        arrays[name] = array
        start += array.nbytes + -array.nbytes % _STEP
    return arrays


def _filled(header: bytes) -> bytes:
    return header + bytes(-len(header) % _STEP)
