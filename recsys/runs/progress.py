"""How much of a long job is done, how fast it goes, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Callable

from recsys.runs.console import Console, clock

EVERY = 5.0
"""Seconds between two lines."""


class Progress:
    """Prints a line now and then; a job that is done sooner prints none."""

    def __init__(
        self,
        console: Console,
        of: int,
        unit: str,
        *,
        before: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count up to `of` some unit (vectors, members); `before` were done by an earlier run."""
        self.console, self.of, self.unit = console, of, unit
        self.before, self.done, self.now = before, before, now
        self.began = self.said = now()

    def __call__(self, more: int) -> None:
        """Note that so many more are done."""
        self.done += more
        at = self.now()
        if at - self.said < EVERY or self.done >= self.of:
            return
        self.said = at
        rate = (self.done - self.before) / (at - self.began)
        left = clock((self.of - self.done) / rate) if rate else "?"
        self.console.fact(
            "made",
            f"{self.done:,} of {self.of:,} {self.unit}   {rate:,.0f}/s   {left} left",
        )

    @property
    def rate(self) -> float:
        """How many were done a second, those done before apart."""
        return (self.done - self.before) / max(self.now() - self.began, 1e-9)
