"""Members done and the clock in, the dearest way that still ends in time out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

SLACK = 1.3
"""How much too slow a first part must be: its process had to start."""


class Way(IntEnum):
    """How slates are made, the dearest first."""

    VALUE = 0
    TASTE = 1
    PLAIN = 2


@dataclass
class Pace:
    """Watches parts of an audience as they are done, and steps down where time runs short.

    It never steps up again: what is measured of a dearer way has shown that it is too slow.
    """

    members: int
    """All that are still to be done when the watch begins."""
    workers: int
    """Parts in flight at a time: the first so many of each way are not measured, for they began
    before it, or wait for their process to start."""
    finish_by: float | None
    """Reading of the clock by which all should be done; None = no hurry."""
    now: Callable[[], float]
    """The clock, in seconds."""
    ways: tuple[Way, ...] = (Way.VALUE, Way.TASTE, Way.PLAIN)
    """Those there are, the dearest first."""
    left: int = field(init=False)
    """Members still to be done."""
    needed: float | None = field(default=None, init=False)
    """Seconds the rest would have taken by the way that was left last; None = it was over."""
    _began: float = field(default=0.0, init=False)
    """When the way of now began."""
    _measured: list[tuple[float, int]] = field(default_factory=list, init=False)
    """Clock and members of each part that was done by the way of now."""
    _abroad: int = field(default=0, init=False)
    """Parts still in flight that were begun in a dearer way."""

    def __post_init__(self) -> None:
        """Begin with the dearest way."""
        self.left = self.members
        self._began = self.now()

    @property
    def way(self) -> Way:
        """How the next part is to be made."""
        return self.ways[0]

    @property
    def rate(self) -> float | None:
        """Members a second by the way of now; None = too little was seen."""
        known = self._measured[self.workers - 1 :]
        if len(known) <= self.workers:
            return None
        seconds = known[-1][0] - known[0][0]
        return sum(members for _, members in known[1:]) / max(seconds, 1e-9)

    @property
    def needs(self) -> float | None:
        """Seconds for what is left, by the way of now; None = too little was seen."""
        return None if self.rate is None else self.left / self.rate

    def done(self, members: int, way: Way) -> Way:
        """Note a part that was made in some way, and return how the next is to be made."""
        self.left -= members
        if way != self.way:
            self._abroad -= 1
        elif self._abroad <= 0:
            self._measured.append((self.now(), members))
        if self._late() and len(self.ways) > 1:
            self.needed = self.needs
            self.ways = self.ways[1:]
            self._measured.clear()
            self._began = self.now()
            # until these parts of the dearer way are home, not all hands work in the new one
            self._abroad = self.workers - 1
        return self.way

    def _late(self) -> bool:
        if self.finish_by is None or not self.left:
            return False
        room = self.finish_by - self.now()
        if room <= 0:
            # nothing is as fast as what comes last
            self.ways = self.ways[-2:]
            return True
        if self.needs is not None:
            return self.needs > room
        return self._at_first is not None and self._at_first > SLACK * room

    @property
    def _at_first(self) -> float | None:
        """Seconds for what is left if all hands are as fast as the first that came home.

        None where enough parts are to come to measure them properly.
        """
        if not self._measured:
            return None
        at, members = self._measured[0]
        if self.left > 2 * self.workers * members:
            return None
        return self.left * max(at - self._began, 1e-9) / (self.workers * members)
