"""Steps of nets in numpy, as torch takes them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recsys.domain.arrays import F32

_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_ERF_AT = 0.3275911
_SHORTEST = 1e-6
_LAYER_NORM = 1e-5


def linear(x: F32, weight: F32, bias: F32 | None = None) -> F32:
    """Map F32[..., i] by a weight F32[o, i], F32[..., o]."""
    mapped: F32 = x @ weight.T
    return mapped if bias is None else mapped + bias


def gelu(x: F32) -> F32:
    """Return x times the normal distribution at x, within 1e-6."""
    return np.float32(0.5) * x * (1 + _erf(x * np.float32(0.5**0.5)))


def _erf(x: F32) -> F32:
    """Return the error function within 5e-7 (Abramowitz and Stegun 1964, 7.1.26)."""
    size = np.abs(x)
    t = 1 / (1 + np.float32(_ERF_AT) * size)
    tail = np.zeros_like(t)
    for term in reversed(_ERF):
        tail = (tail + np.float32(term)) * t
    signed: F32 = np.copysign(1 - tail * np.exp(-size * size), x)
    return signed


def mlp(x: F32, weights: Mapping[str, F32]) -> F32:
    """Return what `mlp.residual_mlp` makes of F32[..., i], F32[..., D]."""
    inside = linear(x, weights["mlp.0.weight"], weights["mlp.0.bias"])
    return linear(gelu(inside), weights["mlp.2.weight"], weights["mlp.2.bias"])


def plain_norm(x: F32) -> F32:
    """Return F32[..., D] with mean 0 and deviation 1 over its coordinates."""
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.square(centred).mean(axis=-1, keepdims=True)
    normed: F32 = centred / np.sqrt(spread + np.float32(_LAYER_NORM))
    return normed


def unit(x: F32) -> F32:
    """Return rows F32[n, d] of length 1; what is nearly nothing stays short."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    scaled: F32 = x / np.maximum(length, np.float32(_SHORTEST))
    return scaled
