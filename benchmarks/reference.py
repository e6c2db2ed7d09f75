"""The leanest two towers that plain torch allows: what a trainer can reach on a machine."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from benchmarks.turns import Clock, Took
from recsys.domain.arrays import I64

TAU, RATE = 0.15, 3e-3


class Reference(nn.Module):
    """Own vectors and nothing else: in-batch softmax corrected by logQ, sparse Adam."""

    def __init__(
        self, member: I64, sale: I64, *, dim: int = 64, batch: int = 512, seed: int = 1
    ) -> None:
        """Take the pairs to learn from: `member` and `sale` I64[n], rows from 0."""
        super().__init__()
        self.member, self.sale = torch.from_numpy(member), torch.from_numpy(sale)
        self.batch, self.draws = batch, torch.Generator().manual_seed(seed)
        counts = torch.bincount(self.sale)
        self.log_q = (counts / len(self.sale)).log()
        self.members = nn.Embedding(int(self.member.max()) + 1, dim, sparse=True)
        self.sales = nn.Embedding(len(counts), dim, sparse=True)
        self.bias = nn.Embedding(len(counts), 1, sparse=True)
        for table, std in ((self.members, 0.1), (self.sales, 0.1), (self.bias, 0.0)):
            nn.init.normal_(table.weight, std=std, generator=self.draws)
        self.adam = torch.optim.SparseAdam(list(self.parameters()), lr=RATE)

    def forward(self, member: Tensor, sale: Tensor) -> Tensor:
        """Return the mean cross-entropy of pairs [B], each against the sales of the others."""
        u, v = normalize(self.members(member)), normalize(self.sales(sale))
        logits = u @ v.T / TAU + self.bias(sale).T - self.log_q[sale]
        same = (sale[:, None] == sale).fill_diagonal_(fill_value=False)
        own = torch.arange(len(sale))
        return cross_entropy(logits.masked_fill(same, -torch.inf), own)

    def run(self, pairs: int) -> Took:
        """Learn from some pairs, or all where there are fewer."""
        clock, order = Clock(), torch.randperm(len(self.sale), generator=self.draws)
        chosen = order[:pairs]
        for first in range(0, len(chosen), self.batch):
            some = chosen[first : first + self.batch]
            loss = self(self.member[some], self.sale[some])
            self.adam.zero_grad()
            loss.backward()
            self.adam.step()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return clock.took(len(chosen))
