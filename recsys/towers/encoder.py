"""What reads a past beside the pooled means: a module of ours, or of an installed package."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from recsys.towers.causal import CausalHistory
from recsys.towers.spec import Causal, Pooled, TwoTower


class Encoding(Protocol):
    """An encoder of an installed package: it says what a past adds to the pooled means h.

    Its module is called like `recsys.towers.causal.CausalHistory`, as

        module(x, window, keep, request=request, noise=noise) -> float32 [B, D]

    with x float32 [B, L, D] of the events, newest first, and `keep` bool [B, L] of those that
    count. L is that of the longest past beside it, at most `towers.history`, and B may be 0.
    `noise` is None outside training. Draws come from it alone, keyed by `request` int64 [B] and by
    a salt of 64 or more: `noise.keep(rate, 64, request[:, None], coordinate)`.
    """

    @property
    def kind(self) -> str:
        """What selects it."""

    def module(self, *, dim: int, history: int) -> nn.Module:
        """Return the module for width D = `dim` and at most `history` events a past.

        It draws its starting weights from torch's random state. A last layer of zeros makes the
        pooled means stand alone at first.
        """


def reader(towers: TwoTower) -> nn.Module | None:
    """Return what adds to the pooled means, with starting weights; None where nothing does."""
    encoder: Pooled | Causal | Encoding = towers.encoder
    match encoder:
        case Pooled():
            return None
        case Causal():
            return CausalHistory(encoder, dim=towers.dim, history=towers.history)
        case _:
            return encoder.module(dim=towers.dim, history=towers.history)
