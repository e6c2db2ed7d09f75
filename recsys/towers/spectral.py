"""Coordinates beside the towers': one SVD of who engaged with what, folded in by history."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from recsys.data.spectrum import Engaged, Filter
from recsys.domain.arrays import F32, I64, Bool
from recsys.domain.dataset import Dataset
from recsys.domain.events import Events
from recsys.domain.requests import Requests
from recsys.towers.resident import Past
from recsys.towers.spec import Spectral


@dataclass(frozen=True)
class Spectrum:
    """The filter over S sales as it was fitted; rows of sales without engagement are 0."""

    past: Tensor
    """What an engagement with a sale adds to a member's coordinates, float32 [S, r]."""
    sale: Tensor
    """Coordinates of each sale, float32 [S, r]."""
    weight: float = 1.0
    """What the members' coordinates are multiplied with."""

    @classmethod
    def of(cls, dataset: Dataset, towers: Requests, spec: Spectral) -> Spectrum:
        """Fit it on the requests of the towers' block alone."""
        engaged = Engaged.of(dataset.history, towers, num_sales=dataset.num_sales)
        kept = (
            Filter.ease(engaged, spec.rank, spec.ridge)
            if spec.ridge
            else Filter.low_pass(engaged, spec.rank)
        )
        known = np.flatnonzero(engaged.place >= 0)

        def spread(rows: F32) -> Tensor:
            whole = np.zeros((dataset.num_sales, rows.shape[1]), dtype=np.float32)
            whole[known] = rows
            return torch.from_numpy(whole)

        return cls(spread(kept.past), spread(kept.sale))


@dataclass(frozen=True)
class Columns:
    """The coordinates of one dataset's sales, and of its members at any instant."""

    history: Events
    past: F32
    """F32[S, r], weight included."""
    sale: F32
    """F32[S, r]; 0 for sales unknown at the fit."""

    @property
    def width(self) -> int:
        """How many coordinates there are."""
        return int(self.sale.shape[1])

    @cached_property
    def known(self) -> Bool:
        """Mark the sales that have coordinates, Bool[S]."""
        marks: Bool = (self.sale != 0).any(axis=1)
        return marks

    def sales(self, rows: I64) -> Tensor:
        """Return the coordinates of some sales, float32 [n, r]; they know no time."""
        return torch.from_numpy(self.sale[rows])

    def members(self, past: Past) -> Tensor:
        """Return the coordinates of members, each with a past of their own, float32 [n, r].

        The sum over the distinct known sales of a past, divided by the root of their number: for a
        past of the training and the low pass a row of D_u^-1/2 R D_i^-1/2 V, whatever the instant.
        """
        start = np.asarray(self.history.member_ptr, dtype=np.int64)[past.member]
        count = np.asarray(past.end, dtype=np.int64) - start
        row = np.repeat(np.arange(len(count)), count)
        event = np.arange(len(row)) + (start - np.cumsum(count) + count)[row]
        sale = self.history.sale[event].astype(np.int64)
        cells = np.unique((row * len(self.past) + sale)[self.known[sale]])
        row, sale = np.divmod(cells, max(len(self.past), 1))
        number = np.bincount(row, minlength=len(count))
        share = (1 / np.sqrt(number[row])).astype(np.float32)
        shape = (len(count), len(self.past))
        return torch.from_numpy(sparse.csr_array((share, (row, sale)), shape=shape) @ self.past)
