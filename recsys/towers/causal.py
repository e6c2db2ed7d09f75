"""What attention over the past adds to the pooled heads of a member (MODEL 8, `causal`)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, layer_norm, scaled_dot_product_attention

from recsys.domain.events import Kind
from recsys.towers.features import residual_mlp
from recsys.towers.noise import Noise
from recsys.towers.resident import Window
from recsys.towers.spec import Causal

_WHATS = 5 * len(Kind)
"""Pairs of event kind and channel."""
_OCTAVES = 22
"""Doublings of a minute that the gap buckets span: eight years."""
_DAY_MINUTES = 1440
_SALT = 16
"""Of the first dropout in here; each layer takes the next two."""


@dataclass(frozen=True)
class Sequence:
    """The events of B pasts that are not hidden, oldest first; padding comes after them."""

    slot: Tensor
    """Where each stands in the window, int64 [B, L]."""
    ago: Tensor
    """Events between it and the end, int64 [B, L]: 0 is the newest, and negative is padding."""
    newest: Tensor
    """Where the newest stands, int64 [B]; 0 for a blank past."""

    @classmethod
    def of(cls, keep: Tensor) -> Sequence:
        """Put the kept events (bool [B, L], newest first) in order of time.

        With its padding behind it, a causal mask alone keeps an event from seeing any.
        """
        count = keep.sum(dim=1)
        ago = count[:, None] - 1 - torch.arange(keep.shape[1], device=keep.device)
        kept_first = (~keep).to(torch.uint8).argsort(dim=1, stable=True)
        slot = kept_first.gather(1, ago.clamp(min=0))
        return cls(slot=slot, ago=ago, newest=(count - 1).clamp(min=0))


@dataclass(frozen=True)
class Hiding:
    """Dropout of coordinates, one draw for all events of a history (Gal and Ghahramani 2016)."""

    noise: Noise | None
    request: Tensor
    """Row of the request, int64 [B]: the key of its draws."""
    rate: float

    def __call__(self, added: Tensor, salt: int) -> Tensor:
        """Hide coordinates of what is added to events [B, L, D], and scale up the rest."""
        if self.noise is None or not self.rate:
            return added
        coordinate = torch.arange(added.shape[2], device=added.device)
        shown = self.noise.keep(self.rate, _SALT + salt, self.request[:, None], coordinate)
        return added * (shown.to(added.dtype) / (1 - self.rate))[:, None]


def plain_norm(x: Tensor) -> Tensor:
    """Return x [..., D] with mean 0 and deviation 1 over its coordinates; nothing is learned."""
    return layer_norm(x, x.shape[-1:])


class Layer(nn.Module):
    """Attention, then an MLP, each added to the stream from a normalised copy of it."""

    def __init__(self, dim: int, *, heads: int) -> None:
        """Make matrices without biases; the MLP starts as nothing."""
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim, bias=False)
        self.key_value = nn.Linear(dim, 2 * dim, bias=False)
        self.mix = nn.Linear(dim, dim, bias=False)
        self.mlp = residual_mlp(width=dim, dim=dim)

    def forward(
        self, asking: Tensor, stream: Tensor, shown: Tensor | None, *, hide: Hiding, number: int
    ) -> Tensor:
        """Return what events [B, Q, D] become that look at a stream [B, L, D], [B, Q, D].

        `shown` = which events of the stream they see, bool [B, L]; None = each what is older,
        and then `asking` is the stream itself.
        """
        seen = plain_norm(stream)
        query = self._split(self.query(seen if shown is None else plain_norm(asking)))
        key, value = self.key_value(seen).chunk(2, dim=2)
        mask = None if shown is None else shown[:, None, None]
        heard = scaled_dot_product_attention(
            query, self._split(key), self._split(value), attn_mask=mask, is_causal=mask is None
        )
        asking = asking + hide(self.mix(heard.transpose(1, 2).flatten(2)), 2 * number)
        return asking + hide(self.mlp(plain_norm(asking)), 2 * number + 1)

    def _split(self, x: Tensor) -> Tensor:
        """[B, L, D] to [B, heads, L, D / heads]."""
        rows, length, dim = x.shape
        return x.view(rows, length, self.heads, dim // self.heads).transpose(1, 2)


class CausalHistory(nn.Module):
    """Pre-norm blocks over the past, read out at its newest event (SASRec, ICDM 2018)."""

    def __init__(self, encoder: Causal, *, dim: int, history: int) -> None:
        """Start with an output of zero, so that the pooled heads stand alone."""
        super().__init__()
        self.dropout = encoder.dropout
        small = 0.1 / dim**0.5
        self.gap = nn.Parameter(torch.randn(encoder.gap_buckets, dim) * small)
        self.what = nn.Parameter(torch.randn(_WHATS, dim) * small)
        self.place = nn.Parameter(torch.randn(history, dim) * small)
        self.layers = nn.ModuleList(Layer(dim, heads=encoder.heads) for _ in range(encoder.blocks))
        self.out = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(
        self, x: Tensor, window: Window, keep: Tensor, *, request: Tensor, noise: Noise | None
    ) -> Tensor:
        """Return what to add to h [B, D], zero for a blank past; `x` of the events [B, L, D].

        `keep` bool [B, L]: a hidden event is as good as none. `request` int64 [B] keys dropout.
        """
        events = Sequence.of(keep)
        stream = plain_norm(self._stream(x, window, events))
        hide = Hiding(noise, request, self.dropout)
        *inner, last = self.layers
        for number, layer in enumerate(inner):
            stream = layer(stream, stream, None, hide=hide, number=number)
        at_newest = events.newest[:, None, None].expand(-1, 1, stream.shape[2])
        # a blank past sees its first slot, for no softmax is over nothing, and then counts as zero
        shown = (events.ago >= 0) | (events.ago == events.ago[:, :1])
        newest = last(stream.gather(1, at_newest), stream, shown, hide=hide, number=len(inner))
        added: Tensor = self.out(plain_norm(newest[:, 0]))
        return added * keep.any(dim=1, keepdim=True)

    def _stream(self, x: Tensor, window: Window, events: Sequence) -> Tensor:
        """Return x plus what is known of when and how, in order of time, [B, L, D]."""
        octave = torch.log2(1 + window.days.gather(1, events.slot) * _DAY_MINUTES)
        last = len(self.gap) - 1
        bucket = (octave * (len(self.gap) / _OCTAVES)).long().clamp(max=last)
        what = window.what.gather(1, events.slot)
        moved = x.gather(1, events.slot[..., None].expand(-1, -1, x.shape[2]))
        known = embedding(bucket, self.gap) + embedding(what, self.what)
        return moved + known + embedding(events.ago.clamp(min=0), self.place)
