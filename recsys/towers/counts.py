"""What counts say of a sale, learned first and alone: the best ranking by popularity there is.

A count knows nothing of the member, so all requests before one shelf are one choice: the softmax
over the shelf against the share of outcomes that each sale had. Learned together with taste, on
days whose hot sales taste can name, counts end weaker than the count of the last minutes alone;
on tomorrow's sales, which taste cannot name, that loses (docs/log.md, 2026-11-27).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsys.domain.requests import Requests
from recsys.towers.negatives import generator, ragged
from recsys.towers.resident import Resident
from recsys.towers.sale import SaleTower
from recsys.towers.two_tower import TwoTowerNet

_STEPS, _RATE = 2_000, 0.03
_CELLS = 2_000_000
"""Sales on shelves that are looked at, at most: of longer or more shelves some are drawn."""


@dataclass(frozen=True)
class Choice:
    """One shelf and what its requests came to."""

    as_of: Tensor
    """`Resident.as_of` of its sales, float32 [s, A]."""
    share: Tensor
    """Of all outcomes, float32 [s]."""


def learn(net: TwoTowerNet, resident: Resident, requests: Requests) -> None:
    """Fit what counts say on the training part, in place; then hold it.

    Start from a net that is standardised.
    """
    for weight in _weights(net.sale_tower):
        weight.requires_grad = True
    _fit(net.sale_tower, _choices(net, resident, requests), seed=net.seed)
    hold(net.sale_tower)


def hold(tower: SaleTower) -> None:
    """Let training move nothing of it."""
    for weight in _weights(tower):
        weight.requires_grad = False


@torch.no_grad()
def copied(tower: SaleTower, *, into: SaleTower) -> None:
    """Put what counts say into another tower."""
    for mine, theirs in zip(_weights(tower), _weights(into), strict=True):
        theirs.copy_(mine)


def _weights(tower: SaleTower) -> list[torch.nn.Parameter]:
    return [tower.as_of_bias, *tower.as_of_mlp.parameters()]


def _choices(net: TwoTowerNet, resident: Resident, requests: Requests) -> list[Choice]:
    rng = generator(net.seed, requests.num_groups, _STEPS)
    found, room = list[Choice](), _CELLS
    for group in rng.permutation(np.unique(requests.group)).tolist():
        shelf = requests.shelf(group).astype(np.int64)
        room -= len(shelf)
        if room < 0 and found:
            break
        found.append(_choice(net, resident, requests, group=group))
    return found


def _choice(net: TwoTowerNet, resident: Resident, requests: Requests, *, group: int) -> Choice:
    shelf, rows = requests.shelf(group).astype(np.int64), requests.rows(group)
    at = np.full(len(shelf), requests.group_at[group])
    _, cells = ragged(requests.target_ptr, np.arange(rows.start, rows.stop))
    whole = np.bincount(
        requests.target_sale[cells], requests.target_weight[cells], resident.num_sales
    )
    share = (whole[shelf] / max(whole[shelf].sum(), 1e-12)).astype(np.float32)
    as_of = resident.as_of(shelf, at, hours=net.spec.popularity_hours)
    return Choice(torch.from_numpy(as_of), torch.from_numpy(share))


def _fit(tower: SaleTower, choices: list[Choice], *, seed: int) -> None:
    adam = torch.optim.Adam(_weights(tower), lr=_RATE)
    passes = math.ceil(_STEPS / len(choices))
    total, step = passes * len(choices), 0
    for turn in range(passes):
        for number in generator(seed, turn, total).permutation(len(choices)).tolist():
            one = choices[number]
            for group in adam.param_groups:
                group["lr"] = _RATE * 0.5 * (1 + math.cos(math.pi * step / total))
            loss = -(one.share * tower.counted(one.as_of)[:, 0].log_softmax(dim=0)).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
            step += 1
