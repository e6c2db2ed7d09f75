"""Logistic regression and boosted trees on the same as-of signals: the baselines that learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from recsys.domain.arrays import F32, I64, Bool
from recsys.domain.dataset import Dataset
from recsys.domain.requests import Requests
from recsys.domain.ties import uniform
from recsys.evaluate.baselines import timed
from recsys.evaluate.scorer import Baseline, Scorer
from recsys.evaluate.spec import Evaluate
from recsys.rerank.desk import Desk
from recsys.rerank.signals import Question, signals
from recsys.rerank.value import Model, fit_boosted, fit_logistic

CELLS = 1_000_000
"""Pairs of request and sale scored at once."""
MODELS: dict[str, Callable[[F32, Bool], Model]] = {
    "logistic": fit_logistic,
    "boosted": fit_boosted,
}


@dataclass(frozen=True)
class Learned:
    """Scores a shelf by a model of engagement that never saw the towers."""

    desk: Desk
    model: Model

    def __call__(self, requests: Requests, rows: slice) -> F32:
        """Return chances of engagement, F32[n, s]."""
        shelf = requests.shelf(int(requests.group[rows.start])).astype(np.int64)
        scores = np.empty((rows.stop - rows.start, len(shelf)), dtype=np.float32)
        step = max(1, CELLS // max(len(scores), 1))
        for first in range(0, len(shelf), step):
            part = slice(first, first + step)
            scores[:, part] = self.model.predict(_signals(self.desk, requests, rows, part=part))
        return scores


def learned_baselines(dataset: Dataset, towers: Requests, *, spec: Evaluate) -> dict[str, Baseline]:
    """Fit the models that `spec` asks for on requests of the towers' block.

    Rows: all targets and `learned_negatives` other sales of the shelf per request.
    """
    wanted = [name for name in MODELS if name in spec.baselines]
    if not wanted:
        return {}
    desk = Desk.of(dataset.shop)
    x, y = training_rows(desk, towers, spec)
    return {name: timed(partial(_fit, MODELS[name], desk, x=x, y=y)) for name in wanted}


def _fit(fit: Callable[[F32, Bool], Model], desk: Desk, *, x: F32, y: Bool) -> Scorer:
    return Learned(desk, fit(x, y))


def training_rows(desk: Desk, towers: Requests, spec: Evaluate) -> tuple[F32, Bool]:
    """Draw sales for the newest requests: F32[R, F] and whether they were engaged with."""
    first = max(0, len(towers) - spec.learned_requests)
    xs, ys = [], []
    for group in range(towers.num_groups):
        rows = towers.rows(group)
        rows = slice(max(rows.start, first), rows.stop)
        shelf = towers.shelf(group).astype(np.int64)
        if rows.start >= rows.stop or not len(shelf):
            continue
        columns, hit = _drawn(towers, rows, spec=spec)
        question = Question(
            desk, towers, rows, sales=shelf[columns], curated=towers.curated(group)[columns]
        )
        xs.append(signals(question, None).reshape(columns.size, -1))
        ys.append(hit.ravel())
    return np.concatenate(xs), np.concatenate(ys)


def _drawn(requests: Requests, rows: slice, *, spec: Evaluate) -> tuple[I64, Bool]:
    """Return columns I64[n, k] of the shelf and which are targets: a target, then drawn sales."""
    group = int(requests.group[rows.start])
    shelf = requests.shelf(group)
    order = np.argsort(shelf, kind="stable")
    ptr = requests.target_ptr[rows.start : rows.stop + 1]
    cells = slice(int(ptr[0]), int(ptr[-1]))
    column = order[np.searchsorted(shelf, requests.target_sale[cells], sorter=order)]
    row = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    number = np.arange(rows.start, rows.stop)
    pick = ptr[:-1] - ptr[0] + (uniform(spec.seed, number, 0) * np.diff(ptr)).astype(np.int64)
    draws = uniform(spec.seed, number[:, None], np.arange(1, spec.learned_negatives + 1)[None, :])
    drawn = (draws * len(shelf)).astype(np.int64)
    columns = np.concatenate([column[pick][:, None], drawn], axis=1)
    targets = np.sort(row * len(shelf) + column)
    asked = np.arange(len(columns))[:, None] * len(shelf) + columns
    place = np.minimum(np.searchsorted(targets, asked), len(targets) - 1)
    return columns, targets[place] == asked


def _signals(desk: Desk, requests: Requests, rows: slice, *, part: slice) -> F32:
    group = int(requests.group[rows.start])
    shelf = requests.shelf(group).astype(np.int64)[part]
    curated = requests.curated(group)[part]
    question = Question(desk, requests, rows, sales=shelf[None, :], curated=curated[None, :])
    return signals(question, None)
