"""Do chances mean what they say: what was foretold against what happened, by stratum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from recsys.domain.arrays import F32, F64, I32, I64, NONE, Bool
from recsys.domain.report import Estimate
from recsys.domain.requests import Requests
from recsys.domain.shop import Shop
from recsys.evaluate.intervals import Draws
from recsys.evaluate.scorer import Scorer
from recsys.rerank.calibrate import log_loss
from recsys.rerank.fit import outcomes, pieces
from recsys.rerank.ranker import Ranker, draws_of
from recsys.rerank.spec import plan_of
from recsys.rerank.value import NEW, STRATA

_DRAWS, _SEED = 1_000, 1


@dataclass(frozen=True)
class Reliability:
    """b bins of about equal size, by rising prediction."""

    predicted: F64
    """Mean prediction in each bin, F64[b]."""
    rate: F64
    """Share of outcomes in each bin, F64[b]."""
    low: F64
    """Lower end of the rate's 95 % interval (Wilson 1927), F64[b]."""
    high: F64
    """Upper end, F64[b]."""
    n: I64
    """Rows in each bin, I64[b]."""
    ratio: float
    """Sum of predictions over sum of outcomes: 1 is calibrated; NaN without outcomes."""
    error: float
    """Expected calibration error: mean distance of prediction and rate, weighted by rows."""


def reliability(value: F32, outcome: Bool, *, bins: int = 10) -> Reliability:
    """Sort predictions F32[n] into bins of equal mass and set them against outcomes Bool[n].

    Intervals take rows as independent. Equal predictions may fall on both sides of an edge.

    Raises:
        ValueError: the arrays are empty or of unequal length.
    """
    if len(value) != len(outcome) or not len(value):
        raise ValueError(f"{len(value)} predictions for {len(outcome)} outcomes")
    order = np.argsort(value, kind="stable")
    edges = np.unique(np.linspace(0, len(value), bins + 1).astype(np.int64))
    n = np.diff(edges)
    predicted = np.add.reduceat(value[order].astype(np.float64), edges[:-1]) / n
    rate = np.add.reduceat(outcome[order].astype(np.float64), edges[:-1]) / n
    low, high = wilson(rate, n)
    happened = float(outcome.sum())
    return Reliability(
        predicted=predicted,
        rate=rate,
        low=low,
        high=high,
        n=n,
        ratio=float(value.sum(dtype=np.float64)) / happened if happened else float("nan"),
        error=float(np.abs(predicted - rate) @ n / len(value)),
    )


def wilson(rate: F64, n: I64, z: float = 1.959964) -> tuple[F64, F64]:
    """Return the ends of the interval of a share F64[b] of n I64[b] rows (Wilson 1927)."""
    centre = rate + z**2 / (2 * n)
    reach = z * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    return np.maximum((centre - reach) / scale, 0.0), np.minimum((centre + reach) / scale, 1.0)


@dataclass(frozen=True)
class Foretold:
    """n pairs of a request and a sale of its shelf, or of its candidates where that is long."""

    value: F32
    """Calibrated chance, F32[n]."""
    outcome: Bool
    """It happened, Bool[n]."""
    member: I32
    """Member row, I32[n]."""
    sale: I32
    """Sale row, I32[n]."""
    new: Bool
    """In the stratum of brands new to the member, Bool[n]."""
    chosen: Bool
    """On the slate made for the request, Bool[n]."""

    def where(self, keep: Bool) -> Foretold:
        """Return some of the pairs."""
        return Foretold(**{name: array[keep] for name, array in vars(self).items()})


@dataclass(frozen=True)
class Stratum:
    """How chances of one stratum came true."""

    name: str
    """all, or one of recsys.rerank.value.STRATA."""
    rows: Literal["all", "chosen"]
    """Whole shelves, or only what slates show: the highest chances are those said too high."""
    ratio: Estimate
    """Sum of chances over the n outcomes, with a bootstrap by member."""
    by_sale: Estimate
    """The same with a bootstrap by sale: whole sales do better or worse than anyone foretold."""
    loss: float
    """Mean log-loss."""
    entropy: float
    """Log-loss over that of one right chance for all (He et al. 2014): below 1 tells apart."""
    bins: Reliability


def foretold(
    ranker: Ranker,
    shop: Shop,
    requests: Requests,
    *,
    taste: Scorer,
    unit_of: Callable[[I32], F32],
) -> Foretold:
    """Set what a ranker says of each sale in question beside what happened (DECISION 9).

    Slates are those of its settings, but nobody explores and no dial is drawn. `unit_of` gives the
    vectors of length 1 of sale rows I32[s], F32[s, U].

    Raises:
        ValueError: no requests.
    """
    settled = plan_of(ranker.spec).model_copy(update={"explore_share": 0.0, "novelty_drawn": 0.0})
    sure = replace(ranker, spec=settled)
    found = [
        _piece(sure, shop, requests, taste=taste(requests, rows), unit_of=unit_of, rows=rows)
        for rows in pieces(requests)
    ]
    if not found:
        raise ValueError("no requests, so nothing was foretold")
    return Foretold(**{
        name: np.concatenate([vars(one)[name] for one in found]) for name in vars(found[0])
    })


def _piece(
    ranker: Ranker,
    shop: Shop,
    requests: Requests,
    *,
    taste: F32,
    unit_of: Callable[[I32], F32],
    rows: slice,
) -> Foretold:
    shelf = requests.shelf(int(requests.group[rows.start]))
    asked, offer = ranker.offered(shop, requests, rows, taste=taste, unit=unit_of(shelf))
    picks = ranker.policy.act(offer, draws_of(requests, rows, ranker.policy.num_draws))
    wide = np.broadcast_to(asked.columns, asked.eligible.shape)
    chosen = np.zeros(wide.shape, dtype=np.bool_)
    row, slot = np.nonzero(picks.columns != NONE)
    chosen[row, picks.columns[row, slot]] = True
    happened = outcomes(requests, rows, purchases=ranker.label == "purchase")
    chance = offer.parts.amounts[0]
    if plan_of(ranker.spec).worth != "purchase":
        chance = ranker.value_model(asked.x, asked.eligible)
    member = np.broadcast_to(requests.member[rows][:, None], wide.shape)
    whole = Foretold(
        value=chance,
        outcome=np.take_along_axis(happened, wide, axis=1),
        member=member,
        sale=shelf[wide],
        new=asked.x[..., NEW] >= 0.5,
        chosen=chosen,
    )
    return whole.where(asked.eligible)


def by_stratum(pairs: Foretold, *, bins: int = 10) -> tuple[Stratum, ...]:
    """Judge all pairs and those of each stratum, whole shelves and chosen rows.

    A stratum in which nothing happened is left out.
    """
    known, new = STRATA
    parts = {"all": np.ones_like(pairs.new), known: ~pairs.new, new: pairs.new}
    found = []
    for name, keep in parts.items():
        for rows in ("all", "chosen"):
            some = pairs.where(keep if rows == "all" else keep & pairs.chosen)
            if some.outcome.any():
                found.append(_stratum(some, name, rows=rows, bins=bins))
    return tuple(found)


def _stratum(pairs: Foretold, name: str, *, rows: Literal["all", "chosen"], bins: int) -> Stratum:
    loss = float(log_loss(pairs.value, pairs.outcome).mean())
    rate = np.full(len(pairs.value), pairs.outcome.mean(), dtype=np.float32)
    return Stratum(
        name=name,
        rows=rows,
        ratio=ratio(pairs.value, pairs.outcome, by=pairs.member),
        by_sale=ratio(pairs.value, pairs.outcome, by=pairs.sale),
        loss=loss,
        entropy=loss / float(log_loss(rate, pairs.outcome).mean()),
        bins=reliability(pairs.value, pairs.outcome, bins=bins),
    )


def ratio(value: F32, outcome: Bool, *, by: I32) -> Estimate:
    """Return the sum of chances F32[n] over that of outcomes Bool[n], whole `by` I32[n] drawn.

    Its n counts the outcomes; without any the ratio is NaN.
    """
    drawn, row = np.unique(by, return_inverse=True)
    sums = [np.bincount(row, each, minlength=len(drawn)) for each in (value, outcome)]
    draws = Draws.of(drawn, _DRAWS, _SEED).product(np.stack(sums, axis=1).astype(np.float32))
    happened = int(outcome.sum())
    if not happened:
        return Estimate(value=np.nan, low=np.nan, high=np.nan, n=0)
    drew = draws[:, 1] > 0
    low, high = np.quantile(draws[drew, 0] / draws[drew, 1], [0.025, 0.975])
    whole = float(value.sum(dtype=np.float64)) / happened
    return Estimate(value=whole, low=float(low), high=float(high), n=happened)
