"""Requests of two blocks of time in, a ranker with a calibrated value model out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from recsys.data.asof import history_end
from recsys.domain.arrays import F32, I32, Bool
from recsys.domain.events import Kind
from recsys.domain.requests import Requests
from recsys.domain.shop import Shop
from recsys.domain.ties import uniform
from recsys.rerank import appetite
from recsys.rerank.appetite import Appetite, Counts
from recsys.rerank.asking import ask, asked_of
from recsys.rerank.calibrate import Rows
from recsys.rerank.desk import Desk
from recsys.rerank.ranker import ByTaste, Ranker
from recsys.rerank.signals import NAMES
from recsys.rerank.spec import Rerank, plan_of
from recsys.rerank.trail import Trail
from recsys.rerank.value import FittedValue, Label, fit_taste, fit_value

Scorer = Callable[[Requests, slice], F32]
"""Rows of requests of one group -> F32[n, s] over that group's shelf."""
LEAST_PURCHASES = 200
"""Purchases on the value block below which engagement is foretold instead."""
MOST_ROWS = 1_000_000
"""Pairs of request and sale a value model is fitted on, about; more are thinned by request."""
MOST_MEMBERS = 50_000
"""Members that say what appetite is usual, about."""
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
    """Fit the value model on one block of requests and calibrate it on the next (RULINGS 1, 9).

    With too few purchases to learn from, it foretells engagement, and a note says so.
    """
    desk, most = Desk.of(shop), plan_of(spec).candidates
    first = int(value.at.min()) if len(value) else 0
    last = int(calibration.at.max()) if len(calibration) else first
    desk = replace(desk, appetite=usual_appetite(desk, first, parted_at=last))
    purchases = int((value.target_kind == Kind.PURCHASE).sum())
    label: Label = "purchase" if purchases >= LEAST_PURCHASES else "engagement"
    fit = rows_of(desk, value, taste, most=most, label=label)
    later = rows_of(desk, calibration, taste, most=most, label=label)
    model = fit_value(fit, later, kind=spec.value, label=label)
    if label == "engagement":
        note = f"value: {purchases} purchases to learn from, so it foretells engagement"
        model = replace(model, notes=(note, *model.notes))
    cheap = fit_taste(fit, later, label=label)
    return Ranker(
        spec,
        model,
        median_deviation(model, later),
        kernel,
        desk.appetite,
        by_taste=ByTaste(cheap, median_deviation(cheap, later)),
        _desk=[desk],
    )


def usual_appetite(desk: Desk, at: int, *, parted_at: int | None = None) -> Appetite:
    """Fit what is usual of members who meet new brands on what was known at an instant, UTC us.

    `parted_at`: the instant whose pasts part the members into contexts, None = the same.
    """
    shop = desk.shop
    everyone = np.arange(shop.num_members, dtype=np.int32)
    some = everyone[uniform(everyone) * shop.num_members < MOST_MEMBERS]
    trail = pasts(shop, some, at)
    half = float(trail.days.max(initial=0)) / 2
    window = min(appetite.WINDOW_DAYS, half) or appetite.WINDOW_DAYS
    counts = Counts.of(trail, desk.maker, window_days=window)
    if parted_at is None:
        return appetite.fit(counts, window_days=window).parting(counts)
    later = Counts.of(pasts(shop, some, parted_at), desk.maker, window_days=window)
    return appetite.fit(counts, window_days=window).parting(later)


def pasts(shop: Shop, members: I32, at: int) -> Trail:
    """Gather what member rows I32[n] did before an instant, UTC us."""
    asked = Requests.now(members, shop.shelf(at), history_end(shop.history, members, np.array(at)))
    return Trail.of(shop.history, asked, asked.rows(0))


def rows_of(desk: Desk, requests: Requests, taste: Scorer, *, most: int, label: Label) -> Rows:
    """Gather the signals and outcomes of requests before their whole shelf, or its candidates."""
    requests = thinned(requests, most=most)
    xs, ys, of_request, of_sale = [], [], [], []
    for rows in pieces(requests):
        scores = taste(requests, rows)
        question, columns = ask(desk, requests, rows, taste=scores, most=most)
        asked = asked_of(question, columns, scores)
        happened = outcomes(requests, rows, purchases=label == "purchase")
        wide = np.broadcast_to(columns, asked.eligible.shape)
        request = np.broadcast_to(np.arange(rows.start, rows.stop)[:, None], wide.shape)
        xs.append(asked.x[asked.eligible])
        ys.append(np.take_along_axis(happened, wide, axis=1)[asked.eligible])
        of_request.append(request[asked.eligible])
        shelf = requests.shelf(int(requests.group[rows.start])).astype(np.int64)
        of_sale.append(shelf[wide][asked.eligible])
    return Rows(
        np.concatenate([np.zeros((0, len(NAMES)), dtype=np.float32), *xs]),
        np.concatenate([np.zeros(0, dtype=np.bool_), *ys]),
        np.concatenate([np.zeros(0, dtype=np.int64), *of_request]),
        np.concatenate([np.zeros(0, dtype=np.int64), *of_sale]),
    )


def thinned(requests: Requests, *, most: int) -> Requests:
    """Keep so many requests that about MOST_ROWS pairs are left, by a hash of member and instant.

    Those kept lie all over the block, not at its start.
    """
    width = np.minimum(requests.shelf_end - requests.shelf_start, most)
    pairs = int(width[requests.group].sum())
    if pairs <= MOST_ROWS:
        return requests
    drawn = uniform(requests.member, requests.at) < MOST_ROWS / pairs
    return requests.take(np.flatnonzero(drawn))


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


def median_deviation(value: FittedValue, rows: Rows) -> float:
    """Return the median of the deviations of value inside each request; 0 without requests."""
    if not len(rows.y):
        return 0.0
    worth = value.of_rows(rows).astype(np.float64)
    count = np.maximum(np.bincount(rows.request), 1)
    mean = np.bincount(rows.request, worth) / count
    squares = np.bincount(rows.request, (worth - mean[rows.request]) ** 2)
    asked = np.unique(rows.request)
    return float(np.median(np.sqrt(squares / count)[asked]))
