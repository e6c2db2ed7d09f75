"""Draws that depend on their keys alone: no rank, no device, no hidden state (RULINGS 12)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recsys.domain.ties import keyed

_MASK = 0xFFFFFFFF


@dataclass(frozen=True)
class Noise:
    """Counter-based draws of one step, keyed by (seed, epoch, step) and by what is drawn for."""

    key: int
    """Of the step."""

    @classmethod
    def of(cls, *keys: int) -> Noise:
        """Derive the step's key from (seed, epoch, step)."""
        return cls(int(keyed(*keys)) & _MASK)

    def words(self, salt: int, *indices: Tensor) -> Tensor:
        """Return 32 mixed bits for the indices' common shape, int64.

        Indices are int64 and non-negative. The mixing is lowbias32 (Wellons 2018).
        """
        mixed = torch.full((), self.key ^ (salt * 0x9E3779B9 & _MASK), dtype=torch.int64)
        mixed = mixed.to(indices[0].device)
        for index in indices:
            mixed = _mix(mixed ^ index)
        return mixed

    def keep(self, rate: float, salt: int, *indices: Tensor) -> Tensor:
        """Return a bool tensor of the indices' common shape, False with chance `rate`."""
        return self.words(salt, *indices) >= int(rate * (_MASK + 1))

    def below(self, limit: Tensor, salt: int, *indices: Tensor) -> Tensor:
        """Return whole numbers in [0, limit), int64 of the common shape; limits up to 2^31."""
        return (self.words(salt, *indices) * limit) >> 32

    def unit(self, salt: int, *indices: Tensor) -> Tensor:
        """Return numbers in [0, 1), float64 of the indices' common shape."""
        return self.words(salt, *indices).double() / (_MASK + 1)


def _mix(x: Tensor) -> Tensor:
    x = x & _MASK
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)
