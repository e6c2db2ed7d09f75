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
        count = window.valid.sum(axis=1)
        ago = count[:, None] - 1 - np.arange(window.valid.shape[1])
        stream = plain_norm(self._stream(x, window, ago))
        for number in range(self.blocks - 1):
            older = np.tri(stream.shape[1], dtype=np.bool_)[None]
            stream = self._layer(number, stream, stream, shown=older)
        newest = np.maximum(count - 1, 0)[:, None, None]
        # a blank past sees its first slot, for no softmax is over nothing, and then counts as zero
        shown = (ago >= 0) | (ago == ago[:, :1])
        asking = np.take_along_axis(stream, newest, axis=1)
        last = self._layer(self.blocks - 1, asking, stream, shown=shown[:, None])
        added = linear(plain_norm(last[:, 0]), self.weights["out.weight"])
        counted: F32 = added * (count > 0)[:, None]
        return counted

    def _stream(self, x: F32, window: Window, ago: I64) -> F32:
        """Return x plus what is known of when and how, oldest first, F32[n, L, D]."""
        slot, weights = np.maximum(ago, 0), self.weights
        days = np.take_along_axis(window.days, slot, axis=1)
        octave = np.log2(1 + days * np.float32(_DAY_MINUTES))
        buckets = len(weights["gap"])
        step = (octave * np.float32(buckets / _OCTAVES)).astype(np.int64)
        what = np.take_along_axis(window.what, slot, axis=1)
        known = weights["gap"][np.minimum(step, buckets - 1)] + weights["what"][what]
        moved = np.take_along_axis(x, slot[:, :, None], axis=1)
        stream: F32 = moved + known + weights["place"][slot]
        return stream

    def _layer(self, number: int, asking: F32, stream: F32, *, shown: Bool) -> F32:
        """Return what events F32[n, Q, D] become that see a stream F32[n, L, D] where `shown`."""
        prefix = f"layers.{number}."
        part = {
            name.removeprefix(prefix): weight
            for name, weight in self.weights.items()
            if name.startswith(prefix)
        }
        query = self._split(linear(plain_norm(asking), part["query.weight"]))
        both = linear(plain_norm(stream), part["key_value.weight"])
        key, value = (self._split(half) for half in np.split(both, 2, axis=2))
        score = query @ key.swapaxes(2, 3) / np.float32(math.sqrt(query.shape[3]))
        score = np.where(shown[:, None], score, np.float32(-np.inf))
        weight = np.exp(score - score.max(axis=3, keepdims=True))
        heard = (weight / weight.sum(axis=3, keepdims=True)) @ value
        asking = asking + linear(heard.swapaxes(1, 2).reshape(asking.shape), part["mix.weight"])
        return asking + mlp(plain_norm(asking), part)

    def _split(self, x: F32) -> F32:
        """F32[n, L, D] to F32[n, heads, L, D / heads]."""
        rows, length, dim = x.shape
        parted: F32 = x.reshape(rows, length, self.heads, dim // self.heads).swapaxes(1, 2)
        return parted
