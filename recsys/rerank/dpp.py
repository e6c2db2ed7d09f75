"""The slate whose vectors span the largest volume: a determinantal point process, greedily."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from recsys.domain.arrays import F32, I64
from recsys.domain.errors import SettingError
from recsys.domain.spec import NonNegative, Spec
from recsys.rerank.diversity import ShelfView

RIDGE = 1e-4
"""Added to the diagonal of the likenesses: a variance of each sale that no other explains."""


@dataclass(frozen=True)
class Residual:
    """The incremental Cholesky factor of slates so far (Chen, Zhang and Zhou 2018)."""

    rows: tuple[F32, ...]
    """One for each slot: how far each sale goes along that sale's own direction, F32[n, c]."""
    left: F32
    """Variance of each sale that no chosen sale explains, F32[n, c], from RIDGE to 1 + RIDGE."""


class Dpp(Spec):
    """What adds most to the log determinant of the slate's likenesses (Chen et al. 2018)."""

    kind: Literal["dpp"] = "dpp"
    weight: NonNegative = 0.5
    """Worth of a log determinant of 1, in standard deviations of the member's values. 0.5 is the
    literature's alpha of 1, as 1 / (2 alpha)."""

    def init(self, view: ShelfView) -> Residual:
        """Return what nothing explains."""
        return Residual((), view.full(1 + RIDGE))

    def gains(self, state: Residual) -> F32:
        """Return the log of the variance left, F32[n, c]: as good as 0 on an empty slate."""
        return np.log(state.left)

    def update(self, state: Residual, view: ShelfView, chosen: I64) -> Residual:
        """Take from each sale what the chosen sale explains.

        Raises:
            SettingError: the slate has more slots than the vectors have dimensions, so that beyond
                them every volume is 0.
        """
        if (chosen < 0).all():
            return state
        dim = view.unit.shape[-1]
        if len(state.rows) + 1 >= dim:
            raise SettingError(
                f"dpp fills at most {dim} slots: so many dimensions have the vectors of sales",
                "ask for fewer slots, or set rerank.diversity.kind=mmr, which has no such limit",
            )
        at = np.arange(len(chosen)), np.maximum(chosen, 0)
        row = view.likeness(at[1])
        for earlier in state.rows:
            row -= earlier[at][:, None] * earlier
        row *= np.where(chosen >= 0, 1 / np.sqrt(state.left[at]), np.float32(0))[:, None]
        # the ridge is a variance that nothing explains
        left = np.maximum(state.left - row * row, np.float32(RIDGE))
        return Residual((*state.rows, row), left)
