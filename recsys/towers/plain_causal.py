"""The causal encoder of `towers.causal` in numpy: what attention adds to the pooled heads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recsys.domain.arrays import F32, I64, Bool
from recsys.towers.plain_past import Window
from recsys.towers.plain_steps import linear, mlp, plain_norm

_OCTAVES = 22
"""Doublings of a minute that the gap buckets span, as `causal._OCTAVES`."""
_DAY_MINUTES = 1440


@dataclass(frozen=True)
class CausalReader:
    """Pre-norm blocks over the past, read out at its newest event."""

    weights: Mapping[str, F32]
    """As torch names those of `causal.CausalHistory`."""
    heads: int

    @property
    def blocks(self) -> int:
        """Count the layers."""
        return sum(name.endswith(".query.weight") for name in self.weights)

    def __call__(self, x: F32, window: Window) -> F32:
        """Return what to add to h, F32[n, D], zero for a blank past; `x` F32[n, L, D] of events."""
        count, place = window.valid.sum(axis=1), np.arange(window.valid.shape[1])
        ago = count[:, None] - 1 - place
        slot = np.maximum(ago, 0)
        days = np.take_along_axis(window.days, slot, axis=1)
        what = np.take_along_axis(window.what, slot, axis=1)
        moved = np.take_along_axis(x, slot[:, :, None], axis=1)
        stream = plain_norm(moved + self.weights["what"][what])
        older, far = place[:, None] >= place, np.maximum(place[:, None] - place, 0)
        between = days[:, None] - days[:, :, None]
        for number in range(self.blocks - 1):
            bias = self._bias(number, between, far, shown=older)
            stream = self._layer(number, stream, stream, bias=bias)
        newest = np.maximum(count - 1, 0)[:, None]
        # a blank past sees its first slot, for no softmax is over nothing, and then counts as zero
        shown = (ago >= 0) | (ago == ago[:, :1])
        since = days - np.take_along_axis(days, newest, axis=1)
        last = self.blocks - 1
        bias = self._bias(last, since[:, None], slot[:, None], shown=shown[:, None])
        asking = np.take_along_axis(stream, newest[:, :, None], axis=1)
        state = self._layer(last, asking, stream, bias=bias)
        added = linear(plain_norm(state[:, 0]), self.weights["out.weight"])
        counted: F32 = added * (count > 0)[:, None]
        return counted

    def _bias(self, number: int, days: F32, far: I64, *, shown: Bool) -> F32:
        """Return what is added to scores, F32[n, heads, Q, L]; -inf = not seen.

        `days` F32[n, Q, L] and events `far` I64[..., Q, L] between an event and the one that asks.
        """
        gap = self.weights[f"layers.{number}.gap"]
        place = self.weights[f"layers.{number}.place"]
        octave = np.log2(1 + np.maximum(days, 0) * np.float32(_DAY_MINUTES))
        step = (octave * np.float32(gap.shape[1] / _OCTAVES)).astype(np.int64)
        by_gap = np.moveaxis(gap[:, np.minimum(step, gap.shape[1] - 1)], 0, 1)
        by_place = np.moveaxis(place[:, np.broadcast_to(far, days.shape)], 0, 1)
        seen = np.broadcast_to(shown, days.shape)[:, None]
        bias: F32 = np.where(seen, by_gap + by_place, np.float32(-np.inf))
        return bias

    def _layer(self, number: int, asking: F32, stream: F32, *, bias: F32) -> F32:
        """Return what events F32[n, Q, D] become that see a stream F32[n, L, D]."""
        prefix = f"layers.{number}."
        part = {
            name.removeprefix(prefix): weight
            for name, weight in self.weights.items()
            if name.startswith(prefix)
        }
        seen = plain_norm(stream)
        query = self._split(linear(plain_norm(asking), part["query.weight"]))
        key = self._split(linear(seen, part["key.weight"]))
        value = self._split(linear(seen, part["value.weight"]))
        score = query @ key.swapaxes(2, 3) / np.float32(math.sqrt(query.shape[3])) + bias
        weight = np.exp(score - score.max(axis=3, keepdims=True))
        heard = (weight / weight.sum(axis=3, keepdims=True)) @ value
        asking = asking + linear(heard.swapaxes(1, 2).reshape(asking.shape), part["mix.weight"])
        return asking + mlp(plain_norm(asking), part)

    def _split(self, x: F32) -> F32:
        """F32[n, L, D] to F32[n, heads, L, D / heads]."""
        rows, length, dim = x.shape
        parted: F32 = x.reshape(rows, length, self.heads, dim // self.heads).swapaxes(1, 2)
        return parted
