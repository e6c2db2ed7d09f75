"""A loss of an installed package: it chooses which sales of a shelf stand for all of it."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from recsys.domain.arrays import I64
from recsys.towers.columns import Layout
from recsys.towers.noise import Noise


class Choice(Protocol):
    """The negatives of each decision time of a step are places of its shelf, and no others.

    So a sale that is not open, and one of another day, cannot be chosen. Targets are added by us,
    are never their own negatives, and are not corrected (`refined`, arXiv 2507.09331).
    """

    @property
    def kind(self) -> str:
        """What selects it."""

    def width(self, length: I64) -> I64:
        """Return how many columns shelves of `length` I64[G] sales get, I64[G], at least 1."""

    def places(self, layout: Layout, noise: Noise) -> Tensor:
        """Return the place on its shelf of the sale in each column, int64 [C], in [0, length).

        A pure function of what is given, and for each group of that group alone. Columns that
        `layout.real` does not name are nobody's: any place will do for them.
        """

    def log_q(self, layout: Layout) -> Tensor:
        """Return the log of how often each column's sale is expected to be drawn, float32 [C]."""
