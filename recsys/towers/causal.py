"""What attention over the past adds to the pooled heads of a member (MODEL 8, `causal`)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from recsys.domain.events import Kind
from recsys.towers.gathered import gathered
from recsys.towers.mlp import residual_mlp
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
    """The kept events of B pasts, oldest first; padding comes after them."""

    slot: Tensor
    """Where each stands in the window, int64 [B, L]."""
    ago: Tensor
    """Events between it and the newest, int64 [B, L]: 0 is the newest, negative is padding."""

    @classmethod
    def of(cls, keep: Tensor) -> Sequence:
        """Put the kept events (bool [B, L], newest first) in order of time."""
        count = keep.sum(dim=1)
        ago = count[:, None] - 1 - torch.arange(keep.shape[1], device=keep.device)
        kept_first = (~keep).to(torch.uint8).argsort(dim=1, stable=True)
        return cls(slot=kept_first.gather(1, ago.clamp(min=0)), ago=ago)


@dataclass(frozen=True)
class Hiding:
    """Dropout of coordinates, one draw for all events of a past (Gal and Ghahramani 2016)."""

    noise: Noise | None
    key: Tensor
    """Of the draws, int64 [B]."""
    rate: float

    def __call__(self, added: Tensor, salt: int) -> Tensor:
        """Hide coordinates of what is added to events [B, L, D], and scale up the rest."""
        if self.noise is None or not self.rate:
            return added
        coordinate = torch.arange(added.shape[2], device=added.device)
        shown = self.noise.keep(self.rate, _SALT + salt, self.key[:, None], coordinate)
        return added * (shown.to(added.dtype) / (1 - self.rate))[:, None]


def plain_norm(x: Tensor) -> Tensor:
    """Return x [..., D] with mean 0 and deviation 1 over its coordinates; nothing is learned."""
    return layer_norm(x, x.shape[-1:])


class Layer(nn.Module):
    """Attention whose scores know distance and time between two events, then an MLP."""

    def __init__(self, encoder: Causal, *, dim: int, history: int) -> None:
        """Start as the mean of the past added to the newest event; the MLP starts as nothing."""
        super().__init__()
        self.heads = encoder.heads
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.mix = nn.Linear(dim, dim, bias=False)
        for matrix in (self.value, self.mix):
            nn.init.eye_(matrix.weight)
        self.gap = nn.Parameter(torch.zeros(encoder.heads, encoder.gap_buckets))
        self.place = nn.Parameter(torch.zeros(encoder.heads, history))
        self.mlp = residual_mlp(width=dim, dim=dim)

    def forward(
        self, asking: Tensor, stream: Tensor, apart: Apart, *, hide: Hiding, number: int
    ) -> Tensor:
        """Return what events [B, Q, D] become that look at a stream [B, L, D], [B, Q, D]."""
        seen = plain_norm(stream)
        query = self._split(self.query(seen if asking is stream else plain_norm(asking)))
        key, value = self._split(self.key(seen)), self._split(self.value(seen))
        score = (query * query.shape[3] ** -0.5) @ key.transpose(2, 3)
        # torch's own attention takes several passes more for rows that see nothing; here none does
        heard = (score + apart.bias(self.gap, self.place)).softmax(dim=3).to(value.dtype) @ value
        asking = asking + hide(self.mix(heard.transpose(1, 2).flatten(2)), 2 * number)
        return asking + hide(self.mlp(plain_norm(asking)), 2 * number + 1)

    def _split(self, x: Tensor) -> Tensor:
        """[B, L, D] to [B, heads, L, D / heads]."""
        rows, length, dim = x.shape
        return x.view(rows, length, self.heads, dim // self.heads).transpose(1, 2)


@dataclass(frozen=True)
class Apart:
    """How far events of a past lie from those that ask: Q askers, L events."""

    bucket: Tensor
    """Of the log time between them, int64 [B, Q, L]; one more than there are = it is not seen.
    Each sees one at least."""
    distance: Tensor
    """Events between them, int64 [Q, L] or [B, Q, L]; 0 for an event and itself."""

    def bias(self, gap: Tensor, place: Tensor) -> Tensor:
        """Return what is added to scores, [B, heads, Q, L]; -inf = not seen."""
        unseen = gap.new_full((1, 1), -torch.inf)
        heads = []
        for by_gap, by_place in zip(gap, place, strict=True):
            known = torch.cat((by_gap[:, None], unseen))
            far = gathered(self.distance, by_place[:, None])[..., 0]
            heads.append(gathered(self.bucket, known)[..., 0] + far)
        return torch.stack(heads, dim=1)


class CausalHistory(nn.Module):
    """Pre-norm blocks over the past (SASRec, ICDM 2018), scores shifted by distance and log time.

    What an event becomes depends on events alone, on itself and those before it, never on when
    it is asked for: so one pass over a past gives what it was after each of its events. The
    shifts are those of HSTU (ICML 2024).
    """

    def __init__(self, encoder: Causal, *, dim: int, history: int) -> None:
        """Start with an output of zero, so that the pooled heads stand alone."""
        super().__init__()
        self.dropout, self.buckets = encoder.dropout, encoder.gap_buckets
        self.what = nn.Parameter(torch.randn(_WHATS, dim) * (0.1 / dim**0.5))
        self.layers = nn.ModuleList(
            Layer(encoder, dim=dim, history=history) for _ in range(encoder.blocks)
        )
        self.out = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(
        self, x: Tensor, window: Window, keep: Tensor, *, request: Tensor, noise: Noise | None
    ) -> Tensor:
        """Return h [B, D], zero for a blank past; `x` of the events [B, L, D].

        `keep` bool [B, L]: a hidden event is as good as none. `request` int64 [B] keys dropout.
        """
        line = Sequence.of(keep)
        stream, days = self._stream(x, window, line)
        hide = Hiding(noise, request, self.dropout)
        *inner, last = self.layers
        if inner:
            apart = self._between(days, None)
            for number, layer in enumerate(inner):
                stream = layer(stream, stream, apart, hide=hide, number=number)
        newest = (keep.sum(dim=1) - 1).clamp(min=0)[:, None]
        # a blank past sees its first slot, for no softmax is over nothing, and then counts as zero
        shown = (line.ago >= 0) | (line.ago == line.ago[:, :1])
        bucket = self._bucket(days - days.gather(1, newest), shown)
        apart = Apart(bucket[:, None], line.ago.clamp(min=0)[:, None])
        asking = stream.gather(1, newest[..., None].expand(-1, -1, stream.shape[2]))
        state = last(asking, stream, apart, hide=hide, number=len(inner))
        h: Tensor = self.out(plain_norm(state[:, 0]))
        return h * keep.any(dim=1, keepdim=True)

    def after_each(
        self, x: Tensor, window: Window, keep: Tensor, *, key: Tensor, noise: Noise | None
    ) -> Tensor:
        """Return h after each event of M pasts, oldest first, [M, L, D]; `x` newest first.

        A hidden event (`keep` bool [M, L]) changes nothing: after it stands what stood before it,
        or zero. `key` int64 [M] keys dropout.
        """
        line = Sequence.of(window.valid)
        stream, days = self._stream(x, window, line)
        kept = keep.gather(1, line.slot) & (line.ago >= 0)
        hide = Hiding(noise, key, self.dropout)
        apart = self._between(days, kept)
        for number, layer in enumerate(self.layers):
            stream = layer(stream, stream, apart, hide=hide, number=number)
        h: Tensor = self.out(plain_norm(stream))
        newest = torch.where(kept, torch.arange(kept.shape[1], device=kept.device), -1)
        newest = newest.cummax(dim=1).values
        at = newest.clamp(min=0)[..., None].expand(-1, -1, h.shape[2])
        return h.gather(1, at) * (newest >= 0)[..., None]

    def _stream(self, x: Tensor, window: Window, line: Sequence) -> tuple[Tensor, Tensor]:
        """Return x and how it came about, [B, L, D], and days before the window's instant."""
        what = gathered(window.what.gather(1, line.slot), self.what)
        moved = x.gather(1, line.slot[..., None].expand(-1, -1, x.shape[2]))
        return plain_norm(moved + what), window.days.gather(1, line.slot)

    def _between(self, days: Tensor, kept: Tensor | None) -> Apart:
        """Let each event see itself and those before it, where `kept`."""
        place = torch.arange(days.shape[1], device=days.device)
        distance = place[:, None] - place
        shown = distance >= 0
        if kept is not None:
            shown = shown & (kept[:, None] | (distance == 0))
        bucket = self._bucket(days[:, None] - days[:, :, None], shown)
        return Apart(bucket, distance.clamp(min=0))

    def _bucket(self, days: Tensor, shown: Tensor) -> Tensor:
        """Return the buckets of the time between two events, and `buckets` where not `shown`."""
        octave = torch.log2(1 + days.clamp(min=0) * _DAY_MINUTES)
        step = (octave * (self.buckets / _OCTAVES)).long().clamp(max=self.buckets - 1)
        return torch.where(shown, step, self.buckets)
