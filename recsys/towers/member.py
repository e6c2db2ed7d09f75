"""The member tower: decayed sums over the past plus what is known of the member (MODEL 2.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from recsys.domain.events import Kind
from recsys.towers.causal import CausalHistory
from recsys.towers.encoder import reader
from recsys.towers.features import START, BagInput, linear
from recsys.towers.gathered import gathered
from recsys.towers.mlp import residual_mlp
from recsys.towers.noise import Noise
from recsys.towers.resident import Bag, Window
from recsys.towers.spec import TwoTower
from recsys.towers.stretches import Stretches

_WHATS = 5 * len(Kind)
"""Pairs of event kind and channel."""
_ACTIVITY = 16
"""Buckets of log2(1 + events so far)."""
_QUIET = 0.1 * START
"""Length of each other part than the past before training: a mean over the past is short."""
NUMBERS = 4 + len(Kind)
"""Numbers made of a past: see `past_numbers`."""


def past_numbers(window: Window, log_price: Tensor) -> Tensor:
    """Return what a window of the past says in numbers, NaN where unknown, [B, NUMBERS].

    Median and interquartile range of log price, log days since the last event, log events so far,
    log events of each kind in the window.
    """
    if not len(window.sale):  # a process may have no row of a step, and no quantile is empty
        return torch.zeros(0, NUMBERS, device=log_price.device)
    price = log_price.take(window.sale).masked_fill(~window.valid, torch.nan)
    low, middle, high = _quarters(price)
    never = torch.full_like(window.so_far, torch.nan)
    since = torch.where(window.valid[:, 0], window.days[:, 0].log1p(), never)
    kind = torch.div(window.what, 5, rounding_mode="floor")
    counts = [((kind == k) & window.valid).sum(dim=1) for k in range(len(Kind))]
    counts = [count.float().log1p() for count in counts]
    return torch.stack((middle, high - low, since, window.so_far.log1p(), *counts), dim=1)


def _quarters(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the quartiles of each row [B, L], NaN unknown, by one sort, linear between places."""
    known = (~values.isnan()).sum(dim=1)
    ordered = values.nan_to_num(torch.inf).sort(dim=1).values
    found = []
    for share in (0.25, 0.5, 0.75):
        place = (known - 1).clamp(min=0) * share
        low = place.floor().long()[:, None]
        high = place.ceil().long()[:, None]
        below, above = ordered.gather(1, low)[:, 0], ordered.gather(1, high)[:, 0]
        between = torch.lerp(below, above, (place - place.floor()).to(values.dtype))
        found.append(torch.where(known > 0, between, torch.nan))
    return found[0], found[1], found[2]


class History(nn.Module):
    """K weighted means over the past; weights by kind, channel and a power of age per head."""

    half_days: Tensor

    def __init__(self, spec: TwoTower) -> None:
        """Start with weights that halve at each head's days, and the mean of the heads."""
        super().__init__()
        heads = len(spec.decay_days) + 1
        days = torch.tensor([*spec.decay_days, 1.0])
        self.register_buffer("half_days", days, persistent=False)
        self.kind_weight = nn.Parameter(torch.zeros(len(Kind), heads))
        self.channel_weight = nn.Parameter(torch.zeros(5, heads))
        # softplus(start) = 1
        start = torch.full((len(Kind), heads), math.log(math.e - 1))
        self.exponent = nn.Parameter(start)
        self.mix = nn.Linear(heads * spec.dim, spec.dim, bias=False)
        with torch.no_grad():
            self.mix.weight.copy_(torch.eye(spec.dim).repeat(1, heads) / heads)

    def forward(self, x: Tensor, what: Tensor, *, days: Tensor, keep: Tensor) -> Tensor:
        """Return h [B, Q, D] of Q requests each from x of the events [B, L, D].

        `what` int64 [B, L]; `days` between request and event and which are kept, [B, Q, L].
        """
        # p_k = sum_j w_kj x_j / sum_j w_kj, w_kj = exp(A + C) (1 + g_j / h_k) ^ -softplus(R)
        per_what = (self.kind_weight[:, None] + self.channel_weight).reshape(_WHATS, -1)
        power = softplus(self.exponent)
        # the last head never forgets
        power = torch.cat((power[:, :-1], torch.zeros_like(power[:, -1:])), dim=1)
        per_power = power.repeat_interleave(5, dim=0)
        both = gathered(what, torch.cat((per_what, per_power), dim=1))[:, None]
        heads = per_what.shape[1]
        aged = torch.log1p(days[..., None] * self.half_days.reciprocal())
        logits = (both[..., :heads] - both[..., heads:] * aged).float()
        weight = logits.exp() * keep[..., None]
        pooled = torch.einsum("bqlk,bld->bqkd", weight, x)
        pooled = pooled / (weight.sum(dim=2)[..., None] + 1e-6)
        mixed: Tensor = self.mix(pooled.flatten(2))
        return mixed


@dataclass(frozen=True)
class Asked:
    """B requests as the member tower sees them."""

    member: Tensor
    """Row of the member, int64 [B]."""
    request: Tensor
    """Row of the request, int64 [B]: dropout is keyed by it."""
    window: Window
    cells: int
    """Values that these members own in all."""
    stretches: Stretches | None = None
    """Where training reads pasts together; None = each apart, in its window."""

    @property
    def read(self) -> Window:
        """The windows whose events are read."""
        return self.window if self.stretches is None else self.stretches.window


class MemberTower(nn.Module):
    """u = [unit part of length D - 1; 1]."""

    number_mean: Tensor
    number_scale: Tensor

    def __init__(self, spec: TwoTower, *, fields: int, dense: int) -> None:
        """Start as the mean of the past; what else is known of a member starts quiet."""
        super().__init__()
        self.spec = spec
        self.fields = BagInput(fields=fields, dense=dense, spec=spec, start=_QUIET)
        self.history = History(spec)
        small = _QUIET / spec.dim**0.5
        self.activity = nn.Parameter(torch.randn(_ACTIVITY, spec.dim) * small)
        self.last_channel = nn.Parameter(torch.randn(6, spec.dim) * small)
        self.numbers = linear(NUMBERS, spec.dim, start=_QUIET)
        self.mlp = residual_mlp(width=2 * spec.dim, dim=spec.dim)
        self.register_buffer("number_mean", torch.zeros(NUMBERS))
        self.register_buffer("number_scale", torch.ones(NUMBERS))
        # last, so that all else starts from the numbers it starts from without
        self.reader = reader(spec)

    def forward(
        self,
        table: Tensor,
        bag: Bag,
        asked: Asked,
        *,
        x: Tensor,
        log_price: Tensor,
        noise: Noise | None,
    ) -> Tensor:
        """Return u [B, D]; `x` of the events read, `log_price` [S], noise only in training."""
        keep, blank, fields = self._dropout(bag, asked, noise)
        if asked.stretches is None:
            h = self._alone(x, asked, keep, noise=noise)
        else:
            h = self._together(x, asked.stretches, noise=noise) * ~blank[:, None]
        q = self.fields(table, bag, asked.member, cells=asked.cells, keep=fields)
        q = q + self._lately(asked.window, log_price, blank)
        y = h + q + self.mlp(torch.cat((h, q), dim=1))
        unit = normalize(y[:, :-1], dim=1, eps=1e-6)
        return torch.cat((unit, torch.ones_like(unit[:, :1])), dim=1)

    def _alone(self, x: Tensor, asked: Asked, keep: Tensor, *, noise: Noise | None) -> Tensor:
        """Return h [B, D], each request's past read in its window; `keep` bool [B, L]."""
        window = asked.window
        days, shown = window.days[:, None], keep[:, None]
        h: Tensor = self.history(x, window.what, days=days, keep=shown)[:, 0]
        if self.reader is not None:
            h = h + self.reader(x, window, keep, request=asked.request, noise=noise)
        return h

    def _together(self, x: Tensor, stretches: Stretches, *, noise: Noise | None) -> Tensor:
        """Return h [B, D] from x of the stretches' events [M, L, D]."""
        reader: nn.Module | None = self.reader
        if not isinstance(reader, CausalHistory):
            raise TypeError("stretches are read by the causal encoder alone")
        window, key = stretches.window, stretches.key
        keep = window.valid
        if noise is not None:
            place = torch.arange(keep.shape[1], device=key.device)
            keep = keep & noise.keep(self.spec.event_dropout, 4, key[:, None], place)
        states = reader.after_each(x, window, keep, key=key, noise=noise)
        days, before = stretches.grid()
        pooled = self.history(x, window.what, days=days, keep=before & keep[:, None])
        return stretches.on_grid(pooled) + stretches.at_requests(states)

    def _dropout(
        self, bag: Bag, asked: Asked, noise: Noise | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return which events, whole histories (True = hidden) and fields remain."""
        window, request = asked.window, asked.request
        if noise is None:
            return window.valid, torch.zeros_like(request, dtype=torch.bool), None
        blank = ~noise.keep(self.spec.history_dropout, 3, request)
        place = torch.arange(window.valid.shape[1], device=request.device)
        keep = noise.keep(self.spec.event_dropout, 4, request[:, None], place)
        fields = torch.arange(len(bag.missing), device=request.device)
        shown = noise.keep(self.spec.field_dropout, 5, request[:, None], fields)
        return window.valid & keep & ~blank[:, None], blank, shown

    def _lately(self, window: Window, log_price: Tensor, blank: Tensor) -> Tensor:
        """Return the part of q that the past decides [B, D]; a hidden past says nothing."""
        # a hidden past must look like none, as that of a new member will
        nothing = torch.zeros(NUMBERS, device=blank.device)
        nothing[:3] = torch.nan
        numbers = torch.where(blank[:, None], nothing, past_numbers(window, log_price))
        numbers = ((numbers - self.number_mean) * self.number_scale).nan_to_num(0.0)
        bucket = torch.log2(1 + window.so_far).long().clamp(max=_ACTIVITY - 1)
        none = torch.full_like(bucket, 5)
        channel = torch.where(window.valid[:, 0], window.what[:, 0] % 5, none)
        lately = gathered(bucket * ~blank, self.activity)
        lately = lately + gathered(torch.where(blank, none, channel), self.last_channel)
        return torch.add(lately, self.numbers(numbers))
