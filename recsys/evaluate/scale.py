"""Values in, places on an axis out, with round ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """The range of an axis; `root` spreads small values by their square roots."""

    low: float
    high: float
    root: bool = False

    def __post_init__(self) -> None:
        """Refuse a range that nothing can be placed on."""
        if not self.low < self.high or (self.root and self.low < 0):
            raise ValueError(f"an axis from {self.low} to {self.high}, root {self.root}")

    @classmethod
    def over(cls, values: Iterable[float], *, zero: bool = False, root: bool = False) -> Scale:
        """Return the range that holds all finite values, and zero if asked; 0 to 1 for none."""
        finite = [value for value in values if math.isfinite(value)]
        if zero or root:
            finite.append(0.0)
        low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
        if low == high:
            low, high = (low, low + 1) if zero or root else (low - 0.5, low + 0.5)
        return cls(low, high, root)

    def share(self, value: float) -> float:
        """Return where a value lies, 0 at `low` and 1 at `high`, held inside these."""
        value = min(max(value, self.low), self.high) if math.isfinite(value) else self.low
        place, low, high = (
            (math.sqrt(end) if self.root else end) for end in (value, self.low, self.high)
        )
        return (place - low) / (high - low)

    def ticks(self, most: int = 5) -> tuple[float, ...]:
        """Return at most `most` round values inside the range, ascending."""
        return self._root_ticks(most) if self.root else self._even_ticks(most)

    def labels(self, most: int = 5) -> tuple[tuple[float, str], ...]:
        """Return ticks with their texts, in the digits that all of them need and no more."""
        ticks = self.ticks(most)
        if self.root:
            return tuple((tick, f"{tick:g}") for tick in ticks)
        exact = (d for d in range(9) if all(math.isclose(t, round(t, d)) for t in ticks if t))
        digits = next(exact, 9)
        return tuple((t, f"{t:,.{digits}f}".replace("-", "\N{MINUS SIGN}")) for t in ticks)

    def _even_ticks(self, most: int) -> tuple[float, ...]:
        size = 10.0 ** math.floor(math.log10((self.high - self.low) / most))
        for step in (factor * size for factor in (1, 2, 2.5, 5, 10, 20)):
            first = math.ceil(self.low / step - 1e-9)
            last = math.floor(self.high / step + 1e-9)
            if last - first < most:
                return tuple(i * step for i in range(first, last + 1))
        return (self.low,)

    def _root_ticks(self, most: int) -> tuple[float, ...]:
        power = math.floor(math.log10(self.high))
        rounds = [f * 10.0**p for p in range(power, power - 3, -1) for f in (5, 2, 1)]
        kept: list[float] = []
        for tick in (value for value in [*rounds, 0.0] if self.low <= value <= self.high):
            if not kept or self.share(kept[-1]) - self.share(tick) >= 1 / (most + 1):
                kept.append(tick)
        return tuple(sorted(kept))
