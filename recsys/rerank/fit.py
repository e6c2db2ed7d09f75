"""Requests of two blocks of time in, a ranker with a calibrated value model out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from recsys.domain.arrays import F32, Bool
from recsys.domain.events import Kind
from recsys.domain.requests import Requests
from recsys.domain.shop import Shop
from recsys.rerank.desk import Desk
from recsys.rerank.ranker import Ranker, ask
from recsys.rerank.signals import signals
from recsys.rerank.spec import Rerank, plan_of
from recsys.rerank.utility import deviation
from recsys.rerank.value import Label, Rows, fit_value

Scorer = Callable[[Requests, slice], F32]
"""Rows of requests of one group -> F32[n, s] over that group's shelf."""
LEAST_PURCHASES = 200
"""Purchases on the value block below which engagement is foretold instead."""
MOST_ROWS = 1_000_000
"""Pairs of request and sale a value model is fitted on, at most."""
CELLS = 2_000_000
"""Pairs of request and sale looked at in one step."""


def fit_ranker(
    spec: Rerank,
    shop: Shop,
    *,
    value: Requests,
    calibration: Requests,
    taste: Scorer,
    kernel: F32 | None = None,
) -> Ranker:
    """Fit the value model on one block of requests and calibrate it on the next (RULINGS 1, 9)."""
    desk, most = Desk.of(shop), plan_of(spec).candidates
    purchases = int((value.target_kind == Kind.PURCHASE).sum())
    label: Label = "purchase" if purchases >= LEAST_PURCHASES else "engagement"
    fit = rows_of(desk, value, taste, most=most, label=label)
    later = rows_of(desk, calibration, taste, most=most, label=label)
    model = fit_value(fit, later, kind=spec.value, label=label)
    ranker = Ranker(spec, model, 0.0, kernel, [desk])
    return replace(
        ranker, median_deviation=_median(ranker, shop, requests=calibration, taste=taste)
    )


def rows_of(desk: Desk, requests: Requests, taste: Scorer, *, most: int, label: Label) -> Rows:
    """Gather the signals and outcomes of requests before their whole shelf, or its candidates."""
    xs, ys, held = [], [], 0
    for rows in pieces(requests):
        if held >= MOST_ROWS:
            break
        scores = taste(requests, rows)
        question, columns = ask(desk, requests, rows, taste=scores, most=most)
        wide = np.broadcast_to(columns, (len(scores), columns.shape[1]))
        x = signals(question, np.take_along_axis(scores, wide, axis=1))
        happened = outcomes(requests, rows, purchases=label == "purchase")
        xs.append(x.reshape(-1, x.shape[-1]))
        ys.append(np.take_along_axis(happened, wide, axis=1).ravel())
        held += len(ys[-1])
    return Rows(np.concatenate(xs), np.concatenate(ys))


def pieces(requests: Requests) -> list[slice]:
    """Cut requests into slices inside one group, each of at most CELLS pairs with its shelf."""
    found = []
    for group in range(requests.num_groups):
        rows = requests.rows(group)
        step = max(1, CELLS // max(len(requests.shelf(group)), 1))
        found += [
            slice(first, min(first + step, rows.stop))
            for first in range(rows.start, rows.stop, step)
        ]
    return found


def outcomes(requests: Requests, rows: slice, *, purchases: bool) -> Bool:
    """Return which sales of the shelf each request ended with, Bool[n, s]."""
    group = int(requests.group[rows.start])
    shelf = requests.shelf(group)
    ptr = requests.target_ptr[rows.start : rows.stop + 1]
    cells = slice(int(ptr[0]), int(ptr[-1]))
    row = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    order = np.argsort(shelf, kind="stable")
    column = order[np.searchsorted(shelf, requests.target_sale[cells], sorter=order)]
    counts = (requests.target_kind[cells] == Kind.PURCHASE) | (not purchases)
    happened = np.zeros((len(ptr) - 1, len(shelf)), dtype=np.bool_)
    happened[row[counts], column[counts]] = True
    return happened


def _median(ranker: Ranker, shop: Shop, *, requests: Requests, taste: Scorer) -> float:
    """Return the median deviation of value over the shelves of some requests."""
    rows = pieces(requests)[0]
    value = ranker.value(shop, requests, rows, taste=taste(requests, rows))
    known = np.isfinite(value)
    return float(np.median(deviation(np.nan_to_num(value), known)))
