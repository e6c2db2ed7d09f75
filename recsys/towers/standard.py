"""What must be known of the training part before the first step: means, scales, known sales."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recsys.domain.arrays import I64
from recsys.domain.requests import Requests
from recsys.towers.batches import past_of
from recsys.towers.member import past_numbers
from recsys.towers.negatives import generator
from recsys.towers.resident import Resident
from recsys.towers.two_tower import TwoTowerNet

_SAMPLE = 20_000


@torch.no_grad()
def standardise(net: TwoTowerNet, resident: Resident, requests: Requests) -> None:
    """Fit the standardisers and k_i of a net on the training part alone, in place."""
    rng = generator(net.seed, len(requests))
    rows = np.sort(rng.choice(len(requests), size=min(_SAMPLE, len(requests)), replace=False))
    window = resident.window(past_of(requests, rows), length=net.spec.history)
    tower = net.member_tower
    _fit(past_numbers(window, resident.log_price), tower.number_mean, tower.number_scale)

    group = requests.group[rows]
    start, length = requests.shelf_start[group], requests.shelf_end[group]
    cell = start + (rng.random(len(rows)) * (length - start)).astype(np.int64)
    sales = requests.shelf_sale[cell].astype(np.int64)
    lately = resident.as_of(sales, requests.group_at[group], hours=net.spec.popularity_hours)
    _fit(torch.from_numpy(lately), net.sale_tower.as_of_mean, net.sale_tower.as_of_scale)

    # start as the popularity of the shortest window, in logits: learning goes on from there
    shortest = 1 + int(np.argmin(net.spec.popularity_hours))
    net.sale_tower.as_of_bias[shortest] = 1 / net.sale_tower.as_of_scale[shortest].clamp(min=1e-3)

    known = targets(requests, resident.num_sales) >= max(1, net.spec.n_min)
    if net.spec.n_min == 0:
        known[:] = True
    net.sale_input.known.copy_(torch.from_numpy(known.astype(np.float32)))


def targets(requests: Requests, num_sales: int) -> I64:
    """Count how many requests had each sale as a target, I64[num_sales]."""
    counts: I64 = np.bincount(requests.target_sale, minlength=num_sales)
    return counts


def _fit(values: Tensor, mean: Tensor, scale: Tensor) -> None:
    """Put mean and 1 / deviation of the known values [n, q] into buffers; constants become 0."""
    known = ~values.isnan()
    count = known.sum(dim=0).clamp(min=1)
    centre = values.nan_to_num(0.0).sum(dim=0) / count
    spread = ((values - centre).nan_to_num(0.0).square().sum(dim=0) / count).sqrt()
    mean.copy_(centre)
    scale.copy_(torch.where(spread > 1e-3, 1 / spread.clamp(min=1e-3), torch.zeros_like(spread)))
