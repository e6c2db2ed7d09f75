"""Freed memory goes back to the system, which the C library would keep for later."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_HELD = Path("/proc/self/statm")
"""Where Linux tells how many pages a process holds; the second number counts them."""
SLACK = 250 << 20
"""Bytes freed and not given back that training puts up with. What is given back is asked for
again in the next step, and a page that is asked for costs time (docs/log.md): with 100 MB
training is a sixth slower, with 400 hardly faster."""


def give_back() -> None:
    """Give freed memory back; without effect where the C library knows no such call."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def held() -> int:
    """Return the bytes that the process holds now; 0 where the system does not tell."""
    try:
        pages = int(_HELD.read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


class Slack:
    """Keeps what is freed and still held small: steps of many sizes leave gaps in the heap."""

    def __init__(self) -> None:
        """Give back what is free now; what then is held is in use."""
        self.used = 0
        self.settle()

    def settle(self) -> None:
        """Give back at once."""
        give_back()
        self.used = held()

    def __call__(self) -> None:
        """Give back if much is held; meant for a moment when a step's tensors are gone."""
        if held() - self.used > SLACK:
            self.settle()
