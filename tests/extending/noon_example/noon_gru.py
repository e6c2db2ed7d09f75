"""The module of `noon_example.Recurrent`: in a file of its own, for it needs torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recsys.towers.noise import Noise
from recsys.towers.resident import Window


class Gru(nn.Module):
    """What a recurrent cell knows after the newest events of a past (GRU4Rec, ICLR 2016)."""

    def __init__(self, *, dim: int, newest: int, dropout: float) -> None:
        """Start with an output of zero, so that the pooled means stand alone."""
        super().__init__()
        self.newest, self.dropout = newest, dropout
        self.cell = nn.GRUCell(dim + 1, dim)
        self.out = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(
        self, x: Tensor, window: Window, keep: Tensor, *, request: Tensor, noise: Noise | None
    ) -> Tensor:
        """Return what to add to the pooled means [B, D]; a hidden event leaves all as it was."""
        events = torch.cat((x, window.days[..., None].log1p()), dim=2)[:, : self.newest]
        state = x.new_zeros(len(x), x.shape[2])
        for place in reversed(range(events.shape[1])):
            after = self.cell(events[:, place], state)
            state = torch.where(keep[:, place, None], after, state)
        if noise is not None:
            coordinate = torch.arange(state.shape[1], device=state.device)
            shown = noise.keep(self.dropout, 64, request[:, None], coordinate)
            state = state * shown / (1 - self.dropout)
        added: Tensor = self.out(state)
        return added
