"""Cold-start rivals on the same input: DropoutNet and Heater, after the formulas of their papers.

Both learn to put content in the place of the vector that collaborative filtering gives a sale.
Here that teacher is GF-CF's low pass of who engaged with what, a member's vector that of their past
as of the request, and the content the 300 strongest directions of the content kNN's rows. What the
papers tune is set once for both; validation chooses the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from recsys.data.requests import Blocks
from recsys.data.spectrum import Engaged, Filter, right_vectors
from recsys.domain.arrays import F32, I64
from recsys.domain.dataset import Dataset
from recsys.domain.events import DAY, Events
from recsys.domain.requests import Requests
from recsys.evaluate.baselines import timed
from recsys.evaluate.content import content
from recsys.evaluate.counts import shelf
from recsys.evaluate.scorer import Baseline, Scorer

CONTENT, TEACHER, HIDDEN = 300, 128, 256
EPOCHS, BATCH, NEGATIVES, RATE = 10, 1024, 5, 1e-3
K = 20


@dataclass(frozen=True)
class Material:
    """What both learn from: m members, s sales."""

    history: Events
    past: F32
    """What an engagement with a sale adds to the teacher's vector of a member, F32[s, TEACHER]."""
    member: Tensor
    """The teacher's vectors at the end of training, float32 [m, TEACHER]."""
    sale: Tensor
    """float32 [s, TEACHER]; 0 where nobody engaged."""
    words: Tensor
    """Content, float32 [s, CONTENT]."""
    warm: I64
    """Sales that somebody engaged with."""
    pairs: tuple[I64, I64]
    """Members and sales that met in training."""

    @classmethod
    def of(cls, dataset: Dataset, towers: Requests, until: int) -> Material:
        """Factor the training part and the content of all sales."""
        engaged = Engaged.of(dataset.history, towers, num_sales=dataset.num_sales)
        low = Filter.low_pass(engaged, TEACHER)
        warm = np.flatnonzero(engaged.place >= 0)
        shape = dataset.num_sales, low.sale.shape[1]
        past, sale = (np.zeros(shape, dtype=np.float32) for _ in range(2))
        past[warm] = low.past[engaged.place[warm]]
        sale[warm] = low.sale[engaged.place[warm]]
        degree = np.maximum(np.diff(engaged.matrix.indptr), 1)[:, None]
        member: F32 = (engaged.matrix @ low.past / np.sqrt(degree)).astype(np.float32)
        scale = _scale(member)
        row, column = engaged.matrix.nonzero()
        said = sparse.csr_array(content(dataset, until).astype(np.float32))
        words: F32 = (said @ right_vectors(said[warm], CONTENT)[0]).astype(np.float32)
        return cls(
            dataset.history,
            past * scale,
            torch.from_numpy(member * scale),
            torch.from_numpy(sale * _scale(sale)),
            torch.from_numpy(words * _scale(words)),
            warm,
            (row.astype(np.int64), warm[column]),
        )

    def members(self, requests: Requests, rows: slice) -> Tensor:
        """Return the teacher's vectors of members as their pasts stand, float32 [n, TEACHER]."""
        row, event = requests.past(rows, self.history.member_ptr)
        # a sale counts once, however often it was met
        cells = np.unique(row * len(self.past) + self.history.sale[event])
        row, sale = np.divmod(cells, len(self.past))
        known = (self.past[sale] != 0).any(axis=1)
        sums = np.zeros((rows.stop - rows.start, self.past.shape[1]), dtype=np.float32)
        np.add.at(sums, row[known], self.past[sale[known]])
        number = np.bincount(row[known], minlength=len(sums)).clip(min=1)
        return torch.from_numpy(sums / np.sqrt(number)[:, None].astype(np.float32))


def _scale(rows: F32) -> np.float32:
    """Return what makes a coordinate 1 on average."""
    return np.float32(1 / np.sqrt(np.square(rows).mean()).clip(min=1e-12))


@dataclass(frozen=True)
class Pairs:
    """A batch: n pairs of member and sale, some of which met."""

    member: Tensor
    """int64 [n]."""
    sale: Tensor
    """int64 [n]."""
    met: Tensor
    """1 or 0, float32 [n]."""
    keep: Tensor
    """Whether the sale's own vector is shown, bool [n, 1]."""


def mlp(width: int, out: int) -> nn.Sequential:
    """Return two layers with tanh between, as both papers use."""
    return nn.Sequential(nn.Linear(width, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, out))


class DropoutNet(nn.Module):
    """Volkovs et al. (NeurIPS 2017): a sale's vector and content in, the vector half the time 0.

    The product of both nets follows that of the teacher.
    """

    def __init__(self, material: Material) -> None:
        """Draw both nets."""
        super().__init__()
        self.material = material
        taught, said = material.sale.shape[1], material.words.shape[1]
        self.of_member, self.of_sale = mlp(taught, TEACHER), mlp(taught + said, TEACHER)

    def members(self, taught: Tensor) -> Tensor:
        """Return the vectors of members from the teacher's."""
        made: Tensor = self.of_member(taught)
        return made

    def sales(self, rows: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return the vectors of sales; `keep` bool [n, 1] says whose own vector is shown."""
        own = self.material.sale[rows]
        own = own if keep is None else own * keep
        made: Tensor = self.of_sale(torch.cat((own, self.material.words[rows]), dim=1))
        return made

    def loss(self, some: Pairs) -> Tensor:
        """Return how far the nets' products are from the teacher's."""
        taught = (self.material.member[some.member] * self.material.sale[some.sale]).mean(dim=1)
        found = (
            self.members(self.material.member[some.member]) * self.sales(some.sale, some.keep)
        ).mean(dim=1)
        return (found - taught).square().mean()


class Heater(nn.Module):
    """Zhu et al. (SIGIR 2020): experts make a vector of content, near the teacher's.

    Half the time the teacher's own vector takes its place (randomised training); what follows is
    one net for both, which learns who met what.
    """

    experts = 5

    def __init__(self, material: Material) -> None:
        """Draw the experts, their gate and both nets."""
        super().__init__()
        self.material = material
        taught, said = material.sale.shape[1], material.words.shape[1]
        self.gate = nn.Linear(said, self.experts)
        self.expert = mlp(said, self.experts * taught)
        self.of_member, self.of_sale = mlp(taught, TEACHER), mlp(taught, TEACHER)

    def members(self, taught: Tensor) -> Tensor:
        """Return the vectors of members from the teacher's."""
        made: Tensor = self.of_member(taught)
        return made

    def warmed(self, rows: Tensor) -> Tensor:
        """Return the experts' mixture for sales."""
        words = self.material.words[rows]
        made = self.expert(words).view(len(rows), self.experts, -1)
        mixed: Tensor = (self.gate(words).softmax(dim=1)[..., None] * made).sum(dim=1)
        return mixed

    def sales(self, rows: Tensor) -> Tensor:
        """Return the vectors of sales; the teacher's own are used where there are any."""
        own = self.material.sale[rows]
        warm = own.abs().sum(dim=1, keepdim=True) > 0
        made: Tensor = self.of_sale(torch.where(warm, own, self.warmed(rows)))
        return made

    def loss(self, some: Pairs) -> Tensor:
        """Return the error of who met what, plus that of the experts beside the teacher."""
        own, warmed = self.material.sale[some.sale], self.warmed(some.sale)
        vectors: Tensor = self.of_sale(torch.where(some.keep, own, warmed))
        found = (self.members(self.material.member[some.member]) * vectors).mean(dim=1)
        error: Tensor = (found - some.met).square().mean()
        return error + (warmed - own).square().mean()


@dataclass
class Rival:
    """A net's scores at one epoch."""

    material: Material
    of_member: nn.Module
    sale: F32
    value: float = 0.0

    @classmethod
    @torch.no_grad()
    def of(cls, net: DropoutNet | Heater) -> Rival:
        """Copy what makes members' vectors, and make those of all sales."""
        sale = net.sales(torch.arange(len(net.material.sale))).numpy()
        return cls(net.material, deepcopy(net.of_member), sale)

    @torch.no_grad()
    def __call__(self, requests: Requests, rows: slice) -> F32:
        """Score each sale of the shelf, F32[n, s], for members as their pasts stand."""
        members: F32 = self.of_member(self.material.members(requests, rows)).numpy()
        scores: F32 = members @ self.sale[shelf(requests, rows)].T
        return scores


def steps(material: Material, rng: np.random.Generator) -> Iterator[Pairs]:
    """Yield an epoch's batches: pairs that met, and for each some sales drawn at random."""
    members, sales = material.pairs
    order = rng.permutation(len(members))
    for first in range(0, len(order), BATCH):
        some = order[first : first + BATCH]
        drawn = rng.choice(material.warm, (NEGATIVES, len(some))).ravel()
        member = np.concatenate((members[some], np.tile(members[some], NEGATIVES)))
        sale = np.concatenate((sales[some], drawn))
        met = (np.arange(len(member)) < len(some)).astype(np.float32)
        keep = rng.random((len(member), 1)) < 0.5
        yield Pairs(*map(torch.from_numpy, (member, sale, met, keep)))


def fitted(
    make: Callable[[Material], DropoutNet | Heater],
    material: Material,
    check: Callable[[Scorer], float],
) -> Scorer:
    """Train a net and keep the epoch that `check` finds best."""
    torch.manual_seed(1)
    net, rng, epochs = make(material), np.random.default_rng(1), list[Rival]()
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        for batch in steps(material, rng):
            optimizer.zero_grad()
            net.loss(batch).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
        epochs.append(Rival.of(net))
        epochs[-1].value = check(epochs[-1])
    return max(epochs, key=lambda one: one.value)


def new_recall(requests: Requests, scorer: Scorer, opens_at: I64) -> float:
    """Return recall@20 among the sales of the last day, over members who want one of them."""
    sales = requests.shelf(0)
    new = np.flatnonzero(requests.group_at[0] - opens_at[sales] < DAY)
    place = np.full(len(opens_at), -1)
    place[sales[new]] = np.arange(len(new))
    row = np.repeat(np.arange(len(requests)), np.diff(requests.target_ptr))
    column = place[requests.target_sale]
    wanted = np.zeros((len(requests), len(new)), dtype=np.bool_)
    wanted[row[column >= 0], column[column >= 0]] = True
    scores = scorer(requests, slice(0, len(requests)))[:, new]
    top = np.argpartition(-scores, K, axis=1)[:, :K]
    asked = wanted.sum(axis=1)
    found = np.take_along_axis(wanted, top, axis=1).sum(axis=1)
    return float((found[asked > 0] / asked[asked > 0]).mean())


def cold_rivals(dataset: Dataset, blocks: Blocks) -> dict[str, Baseline]:
    """Fit both on the towers' block; validation's new sales choose the epoch."""
    material = cache(lambda: Material.of(dataset, blocks.towers, blocks.towers_until))

    def check(scorer: Scorer) -> float:
        return new_recall(blocks.validation, scorer, dataset.opens_at)

    return {
        "dropout_net": timed(lambda: fitted(DropoutNet, material(), check)),
        "heater": timed(lambda: fitted(Heater, material(), check)),
    }
